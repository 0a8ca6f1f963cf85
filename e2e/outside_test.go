package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// outside are hosts that a plan may grant, HOST:PORT. All but the first lead elsewhere, or
// soon will.
type outside struct {
	address string // of the first
	api     string // a server of TLS
	inside  string // at the metadata address of clouds
	six     string // the same, in IPv6
	changes string // first where the server is, from then on at the metadata address
	other   string // another name of the server
}

// throughProxy is a function for agents that are shell scripts: it connects to a host and
// asks there for a name, and prints the status of the proxy and the first bytes that came
// behind it: 160303 begins the answer of a server, 150303 an alert, 7b2274 a problem.
const throughProxy = `
hello() { # NAME
	case $1 in
	api*) echo %s;;
	*) echo %s;;
	esac | base64 -d
}
through() { # HOST:PORT NAME
	proxy=${HTTPS_PROXY#http://}
	{ printf 'CONNECT %%s HTTP/1.1\r\nHost: %%s\r\n\r\n' "$1" "$1"; hello $2; sleep 1; } |
		nc -w 10 ${proxy%%:*} ${proxy##*:} > /tmp/through
	printf '"%%s %%s"' "$(sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p' /tmp/through)" "$(sed '1,/^\r$/d' /tmp/through | head -c 3 | od -An -tx1 | tr -d ' \n')"
}
`

// connecting is throughProxy for hosts of example.com: of those it can ask for api and
// changes.
func connecting(t testing.TB) string {
	t.Helper()
	encoded := func(name string) string { return base64.StdEncoding.EncodeToString(clientHello(t, name)) }
	return fmt.Sprintf(throughProxy, encoded("api.example.com"), encoded("changes.example.com"))
}

// withOutside starts the gateway of a stack again, with hosts outside.
func (s *Stack) withOutside(t testing.TB) outside {
	t.Helper()
	ip, _, err := net.SplitHostPort(s.gatewayAddress)
	require.NoError(t, err)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ip+":0")
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.NoError(t, server.Listener.Close())
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)
	here, metadata, six := netip.MustParseAddr(ip), netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254")
	s.env = append(s.env, "AGENTMARKET_EGRESS_NETWORKS="+ip+"/32", "AGENTMARKET_EGRESS_RESOLVER="+nameServer(t, map[string][]netip.Addr{
		"api.example.com": {here}, "other.example.com": {here}, "inside.example.com": {metadata}, "six.example.com": {six},
		"changes.example.com": {here, metadata},
	}))
	s.gateway.Kill()
	s.startGateway(t)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	at := func(name string) string { return net.JoinHostPort(name+".example.com", port) }
	return outside{address: ip, api: at("api"), inside: at("inside"), six: at("six"), changes: at("changes"), other: at("other")}
}

// granted are the hosts of an agent that asks for all but the last one.
func (o outside) granted() map[string]any {
	return map[string]any{"egress": []string{o.api, o.inside, o.six, o.changes}}
}

// clientHello is the first message of a client of TLS that wants a server.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12, CurvePreferences: []tls.CurveID{tls.X25519}}).HandshakeContext(t.Context())
	}()
	header := make([]byte, 5)
	_, err := io.ReadFull(server, header)
	require.NoError(t, err)
	message := make([]byte, int(header[3])<<8|int(header[4]))
	_, err = io.ReadFull(server, message)
	require.NoError(t, err)
	return slices.Concat(header, message)
}

// nameServer answers for some names: each time with the next address, and then with the
// last one.
func nameServer(t testing.TB, names map[string][]netip.Addr) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answerName(buffer[:n], names), from)
		}
	}()
	return conn.LocalAddr().String()
}

// answerName answers a question about the addresses of a name.
func answerName(query []byte, names map[string][]netip.Addr) []byte {
	var labels []string
	at := 12
	for at < len(query) && query[at] != 0 {
		end := at + 1 + int(query[at])
		labels = append(labels, string(query[at+1:end]))
		at = end
	}
	question := query[12 : at+5] // with type and class
	answer := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
	name, kind := strings.Join(labels, "."), query[at+2]
	addresses, known := names[name]
	switch {
	case !known:
		answer[3] |= 3 // no such name
	case kind == 1 && addresses[0].Is4() || kind == 28 && addresses[0].Is6():
		if len(addresses) > 1 {
			names[name] = addresses[1:]
		}
		bytes := addresses[0].AsSlice()
		answer[7] = 1
		answer = append(append(answer, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(bytes))), bytes...)
	}
	return answer
}
