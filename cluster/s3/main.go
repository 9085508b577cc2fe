// Command s3-server is versitygw, an S3 server over a directory, with two pairs of keys: its owner's,
// who may do all, and a user's, who may do what a bucket's policy allows. They come from the
// environment.
package main

import (
	"cmp"
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

const connections = 1000

// S3's own limits: of an upload's parts, and of an object's bytes that it copies at once.
const (
	parts  = 10_000
	copied = 5 << 30
)

// accounts says of an unknown key what S3 says: the single account itself answers with a 404.
type accounts struct{ auth.IAMService }

func (a accounts) GetUserAccount(key string) (auth.Account, error) {
	found, err := a.IAMService.GetUserAccount(key)
	if err != nil {
		return found, auth.ErrNoSuchUser
	}
	return found, nil
}

// open makes a backend of `directory`, which holds these buckets at least. Where its file system has no extended attributes for users,
// as some that a pod gets, metadata are files of their own.
func open(directory string, names []string) (*posix.Posix, error) {
	directory, err := filepath.Abs(directory)
	if err != nil {
		return nil, err
	}
	buckets, metadata := filepath.Join(directory, "buckets"), filepath.Join(directory, "metadata")
	for _, name := range names {
		// A directory here is a bucket.
		if err := os.MkdirAll(filepath.Join(buckets, name), 0o700); err != nil {
			return nil, err
		}
	}
	attributes := meta.XattrMeta{}
	if attributes.Test(buckets) == nil {
		return posix.New(buckets, attributes, posix.PosixOpts{CopyObjectThreshold: copied})
	}
	if err := os.MkdirAll(metadata, 0o700); err != nil {
		return nil, err
	}
	files, err := meta.NewSideCar(metadata)
	if err != nil {
		return nil, err
	}
	return posix.New(buckets, files, posix.PosixOpts{SideCarDir: metadata, CopyObjectThreshold: copied})
}

func main() {
	listen := flag.String("listen", "", "address to listen at")
	certificate := flag.String("tls-cert", "", "file of the certificate; none: without TLS")
	key := flag.String("tls-key", "", "file of its key")
	directory := flag.String("directory", "", "where all is kept; made if it is not there")
	buckets := flag.String("buckets", "", "names of buckets to make, with commas between them")
	region := flag.String("region", "us-east-1", "the only region that a request may be signed for")
	health := flag.String("health", "/readyz", "path that is answered without a signature")
	flag.Parse()
	owner, secret := os.Getenv("OWNER_ACCESS_KEY_ID"), os.Getenv("OWNER_SECRET_ACCESS_KEY")
	if owner == "" || secret == "" {
		log.Fatal("OWNER_ACCESS_KEY_ID and OWNER_SECRET_ACCESS_KEY are needed")
	}
	user := auth.Account{
		Access: cmp.Or(os.Getenv("USER_ACCESS_KEY_ID"), owner),
		Secret: cmp.Or(os.Getenv("USER_SECRET_ACCESS_KEY"), secret),
		Role:   auth.RoleUser,
	}
	backend, err := open(*directory, strings.Split(*buckets, ","))
	if err != nil {
		log.Fatal(err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = embedgw.RunVersityGW(ended, backend, &embedgw.Config{
		RootUserAccess:    owner,
		RootUserSecret:    secret,
		Region:            *region,
		Ports:             []string{*listen},
		MaxConnections:    connections,
		MaxRequests:       connections,
		MultipartMaxParts: parts,
		CertFile:          *certificate,
		KeyFile:           *key,
		Quiet:             true,
		KeepAlive:         true,
		HealthPath:        *health,
		IAMService:        accounts{auth.NewIAMServiceSingle(user)},
	})
	if err != nil {
		log.Fatal(err)
	}
}
