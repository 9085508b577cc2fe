package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// identity is one certificate: who its holder is to the API server (common name, organization),
// and under which names and addresses it may serve.
type identity struct {
	file         string
	commonName   string
	organization string
	names        []string
	addresses    []string
}

func identities(node, nodeAddress, serviceAddress string) []identity {
	apiNames := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}
	return []identity{
		{file: "apiserver", commonName: "kube-apiserver", names: apiNames,
			addresses: []string{"127.0.0.1", nodeAddress, serviceAddress}},
		{file: "etcd", commonName: "etcd", names: []string{"localhost"}, addresses: []string{"127.0.0.1"}},
		{file: "kubelet-server", commonName: node, names: []string{node}, addresses: []string{nodeAddress}},
		{file: "apiserver-client", commonName: "kube-apiserver-client", organization: "system:masters"},
		{file: "admin", commonName: "local-admin", organization: "system:masters"},
		{file: "controller-manager", commonName: "system:kube-controller-manager"},
		{file: "scheduler", commonName: "system:kube-scheduler"},
		{file: "kubelet", commonName: "system:node:" + node, organization: "system:nodes"},
		{file: "proxy", commonName: "system:kube-proxy"},
		{file: "coredns", commonName: "local-cluster:coredns"},
		{file: "provisioner", commonName: "local-cluster:provisioner"},
	}
}

// runCertificates writes a new authority and every certificate of the cluster. It lives here, and
// not in a script around openssl, because strict clients refuse what openssl's defaults leave out:
// the authority's key usage and the leaves' authority key id.
func runCertificates() {
	flags := flag.NewFlagSet("certificates", flag.ExitOnError)
	directory := flags.String("directory", "", "directory to write to")
	node := flags.String("node", "", "name of the node")
	nodeAddress := flags.String("node-address", "", "address of the node")
	serviceAddress := flags.String("service-address", "", "first address of the Service range")
	_ = flags.Parse(os.Args[1:])

	must(os.MkdirAll(*directory, 0o700))
	authority, authorityKey := newCertificate(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "local cluster"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}, nil, nil)
	write(*directory, "ca", authority, authorityKey)

	for _, who := range identities(*node, *nodeAddress, *serviceAddress) {
		template := &x509.Certificate{
			Subject:     pkix.Name{CommonName: who.commonName},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			DNSNames:    who.names,
		}
		if who.organization != "" {
			template.Subject.Organization = []string{who.organization}
		}
		for _, address := range who.addresses {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
		}
		if len(who.addresses) > 0 {
			template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		}
		leaf, key := newCertificate(template, authority, authorityKey)
		write(*directory, who.file, leaf, key)
	}

	// Service account tokens are signed with a plain key pair; no certificate comes with it.
	key := newKey()
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(err)
	writePEM(filepath.Join(*directory, "service-account.pub"), "PUBLIC KEY", public)
	writePEM(filepath.Join(*directory, "service-account.key"), "EC PRIVATE KEY", marshal(key))
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return key
}

func newCertificate(
	template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey,
) (*x509.Certificate, *ecdsa.PrivateKey) {
	key := newKey()
	if parent == nil {
		parent, parentKey = template, key
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	must(err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	must(err)
	keyID := sha256.Sum256(public)
	template.SerialNumber = serial
	template.SubjectKeyId = keyID[:20]
	// An hour back, for a virtual machine whose clock is set only after its start.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().AddDate(5, 0, 0)
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	must(err)
	certificate, err := x509.ParseCertificate(raw)
	must(err)
	return certificate, key
}

func marshal(key *ecdsa.PrivateKey) []byte {
	raw, err := x509.MarshalECPrivateKey(key)
	must(err)
	return raw
}

func write(directory, name string, certificate *x509.Certificate, key *ecdsa.PrivateKey) {
	writePEM(filepath.Join(directory, name+".crt"), "CERTIFICATE", certificate.Raw)
	writePEM(filepath.Join(directory, name+".key"), "EC PRIVATE KEY", marshal(key))
}

func writePEM(path, kind string, raw []byte) {
	mode := os.FileMode(0o644)
	if strings.HasSuffix(path, ".key") {
		mode = 0o600
	}
	must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), mode))
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
