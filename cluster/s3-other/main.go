// Command s3-other-server is another S3 server than s3-server, for tests that what works with one
// isn't that one's own habit: gofakes3 over memory, and the signatures that it doesn't check.
package main

import (
	"crypto/subtle"
	"encoding/xml"
	"flag"
	"log"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

const (
	timeFormat = "20060102T150405Z"
	largest    = 15 * time.Minute
)

var (
	authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^,]+), *SignedHeaders=([^,]+), *Signature=([0-9a-f]+)$`)
	signer        = v4.NewSigner(func(options *v4.SignerOptions) { options.DisableURIPathEscaping = true })
)

type keyPair struct{ id, secret string }

// refusal is S3's error in XML.
type refusal struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	status  int
}

func refused(status int, code string) *refusal {
	return &refusal{Code: code, Message: code, status: status}
}

// guard lets through what its owner has signed, for its region.
type guard struct {
	owner, user keyPair
	region      string
	inner       http.Handler
}

func (g guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if no := g.check(r); no != nil {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(no.status)
		if r.Method != http.MethodHead {
			_ = xml.NewEncoder(w).Encode(no)
		}
		return
	}
	g.inner.ServeHTTP(w, r)
}

func (g guard) check(r *http.Request) *refusal {
	query := r.URL.Query()
	credential, headers, signature := query.Get("X-Amz-Credential"), query.Get("X-Amz-SignedHeaders"), query.Get("X-Amz-Signature")
	date, isPresigned := query.Get("X-Amz-Date"), signature != ""
	if !isPresigned {
		found := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
		if found == nil {
			return refused(http.StatusForbidden, "AccessDenied")
		}
		credential, headers, signature, date = found[1], found[2], found[3], r.Header.Get("X-Amz-Date")
	}
	scope := strings.Split(credential, "/")
	signed, err := time.Parse(timeFormat, date)
	if err != nil || len(scope) != 5 || scope[2] != g.region {
		return refused(http.StatusBadRequest, "AuthorizationHeaderMalformed")
	}
	who := g.owner
	switch scope[0] {
	case g.owner.id:
	case g.user.id:
		who = g.user
	default:
		return refused(http.StatusForbidden, "InvalidAccessKeyId")
	}
	if isPresigned {
		seconds, err := strconv.Atoi(query.Get("X-Amz-Expires"))
		if err != nil || time.Now().After(signed.Add(time.Duration(seconds)*time.Second)) {
			return refused(http.StatusForbidden, "AccessDenied")
		}
	} else if time.Since(signed).Abs() > largest {
		return refused(http.StatusForbidden, "RequestTimeTooSkewed")
	}
	expected, err := sign(r, who, g.region, signed, strings.Split(headers, ";"), isPresigned)
	if err != nil || subtle.ConstantTimeCompare([]byte(expected), []byte(signature)) == 0 {
		return refused(http.StatusForbidden, "SignatureDoesNotMatch")
	}
	if who != g.owner {
		return refused(http.StatusForbidden, "AccessDenied")
	}
	return nil
}

// sign tells the signature that the request should have: it signs a copy of it with those headers.
func sign(r *http.Request, who keyPair, region string, when time.Time, headers []string, isPresigned bool) (string, error) {
	address := *r.URL
	same := &http.Request{Method: r.Method, URL: &address, Host: r.Host, Header: http.Header{}}
	for _, name := range headers {
		if values := r.Header.Values(name); len(values) > 0 {
			same.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
		}
	}
	if slices.Contains(headers, "content-length") {
		same.ContentLength = r.ContentLength
	}
	credentials := aws.Credentials{AccessKeyID: who.id, SecretAccessKey: who.secret}
	if !isPresigned {
		err := signer.SignHTTP(r.Context(), credentials, same, r.Header.Get("X-Amz-Content-Sha256"), "s3", region, when)
		found := authorization.FindStringSubmatch(same.Header.Get("Authorization"))
		if err != nil || found == nil {
			return "", err
		}
		return found[3], nil
	}
	query := address.Query()
	for _, name := range []string{"Algorithm", "Credential", "Date", "SignedHeaders", "Signature"} {
		query.Del("X-Amz-" + name)
	}
	address.RawQuery = query.Encode()
	made, _, err := signer.PresignHTTP(r.Context(), credentials, same, "UNSIGNED-PAYLOAD", "s3", region, when)
	_, signature, _ := strings.Cut(made, "X-Amz-Signature=")
	return signature, err
}

func main() {
	listen := flag.String("listen", "", "address to listen at")
	certificate := flag.String("tls-cert", "", "file of the certificate; none: without TLS")
	key := flag.String("tls-key", "", "file of its key")
	_ = flag.String("directory", "", "taken and not used: all is kept in memory")
	buckets := flag.String("buckets", "", "names of buckets to make, with commas between them")
	region := flag.String("region", "us-east-1", "the only region that a request may be signed for")
	health := flag.String("health", "/readyz", "path that is answered without a signature")
	flag.Parse()
	owner := keyPair{os.Getenv("OWNER_ACCESS_KEY_ID"), os.Getenv("OWNER_SECRET_ACCESS_KEY")}
	user := keyPair{os.Getenv("USER_ACCESS_KEY_ID"), os.Getenv("USER_SECRET_ACCESS_KEY")}
	if owner.id == "" || owner.secret == "" {
		log.Fatal("OWNER_ACCESS_KEY_ID and OWNER_SECRET_ACCESS_KEY are needed")
	}
	backend := s3mem.New()
	for _, name := range strings.FieldsFunc(*buckets, func(r rune) bool { return r == ',' }) {
		if err := backend.CreateBucket(name); err != nil {
			log.Fatal(err)
		}
	}
	inner := gofakes3.New(backend, gofakes3.WithoutVersioning()).Server()
	guarded := guard{owner: owner, user: user, region: *region, inner: inner}
	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not a mux, which would clean the paths of objects.
		if r.URL.Path == *health {
			return
		}
		guarded.ServeHTTP(w, r)
	})}
	if *certificate != "" {
		log.Fatal(server.ListenAndServeTLS(*certificate, *key))
	}
	log.Fatal(server.ListenAndServe())
}
