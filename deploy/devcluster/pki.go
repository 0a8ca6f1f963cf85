package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"time"
)

const (
	caValidity   = 10 * 365 * 24 * time.Hour
	leafValidity = 365 * 24 * time.Hour
	leafRenewal  = 30 * 24 * time.Hour // a leaf with less left is made anew at the next up
)

// leaf says what a certificate must be good for.
type leaf struct {
	file   string // name of the .crt and .key files
	ca     string // name of the CA that signs
	cn     string
	groups []string
	dns    []string
	ips    []string
}

// leaves lists the certificates of a cluster. etcd has a CA of its own, so that
// no Kubernetes identity opens etcd.
func leaves(c Cluster) []leaf {
	return []leaf{
		{file: "etcd", ca: "etcd-ca", cn: "etcd", dns: []string{"localhost"}, ips: []string{"127.0.0.1"}},
		{file: "etcd-client", ca: "etcd-ca", cn: "kube-apiserver"},
		{
			file: "apiserver", ca: "ca", cn: "kube-apiserver",
			dns: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
			ips: []string{"127.0.0.1", c.NodeIP, serviceFirstIP},
		},
		{file: "apiserver-kubelet", ca: "ca", cn: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "kubelet-server", ca: "ca", cn: c.Name, dns: []string{c.Name}, ips: []string{c.NodeIP}},
		{file: "kubelet", ca: "ca", cn: "system:node:" + c.Name, groups: []string{"system:nodes"}},
		{file: "controller-manager", ca: "ca", cn: "system:kube-controller-manager"},
		{file: "scheduler", ca: "ca", cn: "system:kube-scheduler"},
		{file: "admin", ca: "ca", cn: "devcluster-admin", groups: []string{"system:masters"}},
	}
}

// ensurePKI makes what is missing, about to expire or for another address, and
// keeps the rest: the CA and the key that signs tokens never change, so
// kubeconfigs and tokens stay valid across down and up.
func ensurePKI(l Layout, c Cluster, now time.Time) error {
	for _, name := range []string{"ca", "etcd-ca"} {
		if err := ensureCA(l, name, now); err != nil {
			return err
		}
	}
	if err := ensureTokenKey(l); err != nil {
		return err
	}
	for _, want := range leaves(c) {
		if err := ensureLeaf(l, want, now); err != nil {
			return err
		}
	}
	return nil
}

func ensureCA(l Layout, name string, now time.Time) error {
	if _, _, err := readPair(l, name); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return makePair(l, name, &x509.Certificate{
		Subject:               pkix.Name{CommonName: "agentmarket-devcluster-" + name},
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(caValidity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}, nil, nil)
}

func ensureLeaf(l Layout, want leaf, now time.Time) error {
	ca, caKey, err := readPair(l, want.ca)
	if err != nil {
		return err
	}
	if have, _, err := readPair(l, want.file); err == nil && want.satisfiedBy(have, ca, now) {
		return nil
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: want.cn, Organization: want.groups},
		NotBefore:   now.Add(-time.Minute),
		NotAfter:    now.Add(leafValidity),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    want.dns,
	}
	for _, ip := range want.ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	return makePair(l, want.file, template, ca, caKey)
}

func (want leaf) satisfiedBy(have, ca *x509.Certificate, now time.Time) bool {
	var ips []string
	for _, ip := range have.IPAddresses {
		ips = append(ips, ip.String())
	}
	return have.NotAfter.Sub(now) > leafRenewal &&
		have.CheckSignatureFrom(ca) == nil &&
		have.Subject.CommonName == want.cn &&
		slices.Equal(have.Subject.Organization, want.groups) &&
		slices.Equal(have.DNSNames, want.dns) &&
		slices.Equal(ips, want.ips)
}

// ensureTokenKey makes the key pair that signs service account tokens.
func ensureTokenKey(l Layout) error {
	if _, err := os.Stat(l.PKI("sa.pub")); err == nil {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate token key: %w", err)
	}
	if err := writeKey(l.PKI("sa.key"), key); err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode token public key: %w", err)
	}
	return writePEM(l.PKI("sa.pub"), "PUBLIC KEY", der, 0o644)
}

// makePair signs a certificate; without a CA it is signed by itself.
func makePair(l Layout, name string, template, ca *x509.Certificate, caKey crypto.Signer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generate key of %s: %w", name, err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("choose serial of %s: %w", name, err)
	}
	template.SerialNumber = serial
	if ca == nil {
		ca, caKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey)
	if err != nil {
		return fmt.Errorf("sign certificate %s: %w", name, err)
	}
	if err := writeKey(l.PKI(name+".key"), key); err != nil {
		return err
	}
	return writePEM(l.PKI(name+".crt"), "CERTIFICATE", der, 0o644)
}

func readPair(l Layout, name string) (*x509.Certificate, crypto.Signer, error) {
	rawCert, err := os.ReadFile(l.PKI(name + ".crt"))
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate: %w", err)
	}
	rawKey, err := os.ReadFile(l.PKI(name + ".key"))
	if err != nil {
		return nil, nil, fmt.Errorf("read key: %w", err)
	}
	certBlock, _ := pem.Decode(rawCert)
	keyBlock, _ := pem.Decode(rawKey)
	if certBlock == nil || keyBlock == nil {
		return nil, nil, fmt.Errorf("decode pair %s: no PEM block", name)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("parse certificate %s: %w", name, err)
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("parse key %s: %w", name, err)
	}
	return cert, key, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	return writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	var buf bytes.Buffer
	if err := pem.Encode(&buf, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return writeFile(path, buf.Bytes(), mode)
}
