package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
)

// maxHello bounds what is read for a ClientHello: a record of the largest size.
const maxHello = 16<<10 + 5

// extensionECH is encrypted_client_hello (RFC 9849): the name in the open may not be the
// one that is meant.
const extensionECH = 0xfe0d

// unrecognizedName is the alert for a client whose ClientHello is refused: fatal, 112.
var unrecognizedName = []byte{21, 3, 3, 0, 2, 2, 112}

// readHello reads the ClientHello from a connection with a deadline, on which some bytes
// have come already. It returns what it read, and not Closed if the client does not ask
// for that host.
func readHello(conn net.Conn, early []byte, host string) (heard []byte, outcome Outcome) {
	l := &listener{Conn: conn, from: io.MultiReader(bytes.NewReader(early), conn)}
	outcome = HelloInvalid
	// The library reads the message, and is stopped before it would answer.
	_ = tls.Server(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			outcome = judge(hello, host)
			return nil, errHeard
		},
	}).Handshake() //nolint:noctx // the connection has a deadline
	return l.heard, outcome
}

func judge(hello *tls.ClientHelloInfo, host string) Outcome {
	switch name := hello.ServerName; {
	case name == "" || slices.Contains(hello.Extensions, extensionECH):
		return NameHidden
	case len(name) != len(host) || !strings.EqualFold(name, host): // of one length: no letter folds into ASCII
		return NameOther
	}
	return Closed
}

var (
	errHeard     = errors.New("the ClientHello was heard")
	errHelloLong = errors.New("the ClientHello is too long")
)

// listener is a connection that is read and never written to. It keeps what it hears.
type listener struct {
	net.Conn
	from  io.Reader
	heard []byte
}

// Read implements net.Conn.
func (l *listener) Read(p []byte) (int, error) {
	left := maxHello - len(l.heard)
	if left <= 0 {
		return 0, errHelloLong
	}
	n, err := l.from.Read(p[:min(len(p), left)])
	l.heard = append(l.heard, p[:n]...)
	return n, err
}

// Write implements net.Conn.
func (l *listener) Write(p []byte) (int, error) { return len(p), nil }
