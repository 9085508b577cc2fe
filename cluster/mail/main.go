// Command mail-server takes mail over SMTP, from whoever has the login and TLS, keeps it in a
// directory, and shows it as JSON over HTTP. It delivers nothing: the demo and the tests look at
// what came.
package main

import (
	"bytes"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const suffix = ".eml"

// Fixed in width, so that the texts sort as the times do.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

var (
	errNoTLS   = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Must issue a STARTTLS command first"}
	errNoLogin = &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "Authentication required"}
	errNoMail  = &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: "The header can't be read"}
)

// login is who may send.
type login struct{ username, password string }

func (l login) fits(username, password string) bool {
	name := subtle.ConstantTimeCompare([]byte(l.username), []byte(username))
	return name&subtle.ConstantTimeCompare([]byte(l.password), []byte(password)) == 1
}

// box is the directory of the mail that came, one file each, named by its time in nanoseconds.
type box string

func (b box) keep(message []byte) error {
	draft, err := os.CreateTemp(string(b), "draft-")
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(message)
	if err = errors.Join(err, draft.Close()); err != nil {
		return err
	}
	for {
		// A link never replaces a file, so two mails of one moment get two names.
		name := filepath.Join(string(b), strconv.FormatInt(time.Now().UnixNano(), 10)+suffix)
		if err = os.Link(draft.Name(), name); !errors.Is(err, os.ErrExist) {
			return err
		}
	}
}

func (b box) ids() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(string(b), "*"+suffix))
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), suffix)
	}
	return files, err
}

func (b box) open(id string) (*os.File, error) {
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return nil, os.ErrNotExist
	}
	return os.Open(filepath.Join(string(b), id+suffix))
}

func (b box) read(id string) (*mail.Message, func(), error) {
	file, err := b.open(id)
	if err != nil {
		return nil, nil, err
	}
	message, err := mail.ReadMessage(file)
	return message, func() { file.Close() }, err
}

// session is one client's connection.
type session struct {
	conn  *smtp.Conn
	login login
	box   box
	known bool
}

func (s *session) encrypted() bool {
	_, is := s.conn.TLSConnectionState()
	return is
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	if !s.encrypted() {
		return nil, errNoTLS
	}
	return sasl.NewPlainServer(func(_, username, password string) error {
		if s.known = s.login.fits(username, password); !s.known {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.encrypted() {
		return errNoTLS
	}
	if !s.known {
		return errNoLogin
	}
	return nil
}

func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }

func (s *session) Data(message io.Reader) error {
	text, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	if _, err := mail.ReadMessage(bytes.NewReader(text)); err != nil {
		return errNoMail
	}
	return s.box.keep(text)
}

type address struct{ Name, Address string }

// heading is a mail in the list. An address that can't be read is left out.
type heading struct {
	ID        string
	MessageID string
	Created   string
	From      *address
	To        []address
	Subject   string
}

func headingOf(id string, header mail.Header) heading {
	nanoseconds, _ := strconv.ParseInt(id, 10, 64)
	found := heading{
		ID:        id,
		MessageID: strings.Trim(header.Get("Message-Id"), "<> "),
		Created:   time.Unix(0, nanoseconds).UTC().Format(timeFormat),
		Subject:   header.Get("Subject"),
	}
	if decoded, err := new(mime.WordDecoder).DecodeHeader(found.Subject); err == nil {
		found.Subject = decoded
	}
	if from, err := header.AddressList("From"); err == nil {
		found.From = &address{from[0].Name, from[0].Address}
	}
	to, _ := header.AddressList("To")
	for _, one := range to {
		found.To = append(found.To, address{one.Name, one.Address})
	}
	return found
}

// readBodies adds what a part, or all the parts in it, have to show to `bodies`, by media type.
func readBodies(header func(string) string, body io.Reader, bodies map[string]string) error {
	kind, parameters, err := mime.ParseMediaType(header("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") {
		parts := multipart.NewReader(body, parameters["boundary"])
		for {
			part, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := readBodies(part.Header.Get, part, bodies); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(header("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	bodies[kind] += string(content)
	return err
}

func answer(w http.ResponseWriter, content any, err error) {
	switch {
	case errors.Is(err, os.ErrNotExist):
		http.Error(w, "no such mail", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(content)
	}
}

func (b box) list() ([]heading, error) {
	ids, err := b.ids()
	found := make([]heading, 0, len(ids))
	for _, id := range ids {
		message, closeIt, err := b.read(id)
		if err != nil {
			return nil, err
		}
		found = append(found, headingOf(id, message.Header))
		closeIt()
	}
	return found, err
}

func (b box) show(id string) (any, error) {
	message, closeIt, err := b.read(id)
	if err != nil {
		return nil, err
	}
	defer closeIt()
	bodies := map[string]string{}
	err = readBodies(message.Header.Get, message.Body, bodies)
	return struct {
		heading
		Text, HTML string
	}{headingOf(id, message.Header), bodies["text/plain"], bodies["text/html"]}, err
}

func (b box) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /api/v1/messages", func(w http.ResponseWriter, _ *http.Request) {
		found, err := b.list()
		answer(w, map[string]any{"messages": found}, err)
	})
	mux.HandleFunc("GET /api/v1/message/{id}", func(w http.ResponseWriter, r *http.Request) {
		found, err := b.show(r.PathValue("id"))
		answer(w, found, err)
	})
	mux.HandleFunc("GET /api/v1/message/{id}/headers", func(w http.ResponseWriter, r *http.Request) {
		message, closeIt, err := b.read(r.PathValue("id"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		defer closeIt()
		answer(w, message.Header, nil)
	})
	mux.HandleFunc("GET /api/v1/message/{id}/raw", func(w http.ResponseWriter, r *http.Request) {
		file, err := b.open(r.PathValue("id"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		defer file.Close()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.Copy(w, file)
	})
	return mux
}

func main() {
	listen := flag.String("smtp", "", "address to take mail at")
	implicit := flag.Bool("implicit-tls", false, "begin with TLS instead of waiting for STARTTLS")
	web := flag.String("http", "", "address to show mail at")
	certificate := flag.String("tls-cert", "", "file of the certificate")
	key := flag.String("tls-key", "", "file of its key")
	directory := flag.String("directory", "", "where the mail is kept; made if it is not there")
	flag.Parse()
	who := login{os.Getenv("LOGIN_USERNAME"), os.Getenv("LOGIN_PASSWORD")}
	if who.username == "" || who.password == "" {
		log.Fatal("LOGIN_USERNAME and LOGIN_PASSWORD are needed")
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.MkdirAll(*directory, 0o700); err != nil {
		log.Fatal(err)
	}
	mailbox := box(*directory)
	server := smtp.NewServer(smtp.BackendFunc(func(conn *smtp.Conn) (smtp.Session, error) {
		return &session{conn: conn, login: who, box: mailbox}, nil
	}))
	server.Addr = *listen
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	server.MaxMessageBytes = 32 << 20
	// A client without TLS has to be told why it is refused, not that there is no login here.
	server.AllowInsecureAuth = true

	ended := make(chan error)
	go func() { ended <- http.ListenAndServe(*web, mailbox.pages()) }()
	go func() {
		if *implicit {
			ended <- server.ListenAndServeTLS()
		} else {
			ended <- server.ListenAndServe()
		}
	}()
	log.Fatal(<-ended)
}
