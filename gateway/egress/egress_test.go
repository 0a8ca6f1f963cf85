package egress

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
)

// site is an HTTPS server whose certificate is for example.com and what is below it, and
// a client that reaches it through the proxy.
func (w *world) site(host string, handler http.HandlerFunc) (target string, client *http.Client) {
	w.t.Helper()
	server := httptest.NewTLSServer(handler)
	w.t.Cleanup(server.Close)
	target = w.grant(host, server.Listener.Addr().(*net.TCPAddr).Port)
	authority := x509.NewCertPool()
	authority.AddCert(server.Certificate())
	proxy, err := url.Parse(w.http.URL)
	require.NoError(w.t, err)
	transport := &http.Transport{
		Proxy:              http.ProxyURL(proxy),
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {"Bearer t"}},
		TLSClientConfig:    &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12},
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return target, &http.Client{Transport: transport}
}

func (w *world) get(client *http.Client, url string) (string, error) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, url, nil)
	require.NoError(w.t, err)
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func TestReachesWhatIsGranted(t *testing.T) {
	w := newWorld(t)
	var seen http.Header
	target, client := w.site(granted, func(out http.ResponseWriter, r *http.Request) {
		seen = r.Header
		_, _ = io.WriteString(out, strings.Repeat("x", 100_000))
	})
	text, err := w.get(client, "https://"+target)
	require.NoError(t, err)
	require.Len(t, text, 100_000)
	require.NotContains(t, seen, "Proxy-Authorization")
	client.CloseIdleConnections()
	end := w.left(1)[0]
	require.Equal(t, granted, end.Host)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), end.Address)
	require.Greater(t, end.Received, int64(100_000))
	require.Greater(t, end.Sent, int64(200))
	require.Contains(t, []Outcome{Closed, Broken}, end.Outcome)
	require.Positive(t, end.Duration)
	require.Len(t, w.begun, 1)
	require.Empty(t, w.begun[0].Outcome)
	require.Equal(t, ids.Run("run_1"), w.begun[0].Run)
	require.Equal(t, 2, w.begun[0].Attempt)
}

// TestRedirects: a host that is granted sends the agent elsewhere; there the proxy is
// asked again.
func TestRedirects(t *testing.T) {
	w := newWorld(t)
	var to string
	target, client := w.site(granted, func(out http.ResponseWriter, r *http.Request) { http.Redirect(out, r, to, http.StatusFound) })
	w.session.Hosts = append(w.session.Hosts, "inside.example.com")
	w.names["inside.example.com"] = []netip.Addr{netip.MustParseAddr("10.0.0.7")}
	for _, to = range []string{"https://169.254.169.254/latest", "https://[::1]/", "https://other.example.com/", "https://inside.example.com/"} {
		_, err := w.get(client, "https://"+target)
		require.Error(t, err, to)
	}
	client.CloseIdleConnections()
	var outcomes []Outcome
	for _, c := range w.left(5) {
		outcomes = append(outcomes, c.Outcome)
	}
	for _, want := range []Outcome{TargetInvalid, NotGranted, NotPublic} {
		require.Contains(t, outcomes, want)
	}
	require.Len(t, w.begun, 1)
}

func TestRefuses(t *testing.T) {
	for target, want := range map[string]struct {
		code    string
		outcome Outcome
	}{
		"other.example.com:443":      {"egress_not_granted", NotGranted},
		"api.example.com:444":        {"egress_not_granted", NotGranted},
		"example.org:443":            {"egress_not_granted", NotGranted},
		"gone.example.com:443":       {"egress_unresolved", Unresolved},
		"empty.example.com:443":      {"egress_unresolved", Unresolved},
		"inside.example.com:443":     {"egress_not_public", NotPublic},
		"a.example.org:1":            {"egress_unreachable", Unreachable},
		"api.example.com":            {"egress_target_invalid", TargetInvalid},
		"api.example.com:0":          {"egress_target_invalid", TargetInvalid},
		"api.example.com:65536":      {"egress_target_invalid", TargetInvalid},
		"api.example.com:0443":       {"egress_target_invalid", TargetInvalid},
		"api.example.com:https":      {"egress_target_invalid", TargetInvalid},
		"api.example.com.:443":       {"egress_target_invalid", TargetInvalid},
		"*.example.org:443":          {"egress_target_invalid", TargetInvalid},
		"10.0.0.1:443":               {"egress_target_invalid", TargetInvalid},
		"0x7f000001:443":             {"egress_target_invalid", TargetInvalid},
		"2130706433:443":             {"egress_target_invalid", TargetInvalid},
		"[::1]:443":                  {"egress_target_invalid", TargetInvalid},
		"localhost:443":              {"egress_target_invalid", TargetInvalid},
		"a.localhost:443":            {"egress_target_invalid", TargetInvalid},
		"user@api.example.com:443":   {"egress_target_invalid", TargetInvalid},
		"/v1/run":                    {"egress_target_invalid", TargetInvalid},
		"api.example.com:443:443":    {"egress_target_invalid", TargetInvalid},
		"a.example.org%00.test:443":  {"egress_target_invalid", TargetInvalid},
		"api.example.com:443?q":      {"egress_target_invalid", TargetInvalid},
		"api.example.com:443/../etc": {"egress_target_invalid", TargetInvalid},
	} {
		t.Run(target, func(t *testing.T) {
			w := newWorld(t)
			w.session.Hosts = []string{granted, "*.example.org:1", "gone.example.com", "empty.example.com", "inside.example.com"}
			w.names["a.example.org"] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			w.names["inside.example.com"] = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
			w.names["empty.example.com"] = nil
			c := w.connect(target)
			if c.code == "" { // the server of HTTP was faster
				require.Equal(t, http.StatusBadRequest, c.status)
				return
			}
			require.Equal(t, want.code, c.code)
			require.Equal(t, want.outcome, w.outcome())
			if want.outcome == TargetInvalid {
				require.Equal(t, target, w.ended[0].Target)
				require.Empty(t, w.ended[0].Host)
			}
			require.Empty(t, w.begun)
			if want.outcome == TargetInvalid || want.outcome == NotGranted {
				require.Empty(t, w.asked, "no name is asked for that is not granted")
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.Allowed = nil
		c.Private = []netip.Prefix{netip.MustParsePrefix("8.8.8.0/24"), netip.MustParsePrefix("2a00:1450::/32")}
	})
	w.session.Hosts = []string{granted}
	for i, text := range []string{
		"127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254", "169.254.170.2", "168.63.129.16",
		"192.0.0.170", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1",
		"2002:a00:1::1", "2002:a9fe:a9fe::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "100::1",
		"8.8.8.8", "::ffff:8.8.8.8", "2a00:1450:4001::1", // of the platform's own
	} {
		w.names[granted] = []netip.Addr{netip.MustParseAddr(text)}
		require.Equal(t, "egress_not_public", w.connect(granted+":443").code, text)
		require.Equal(t, NotPublic, w.left(i + 1)[i].Outcome, text)
		require.Equal(t, netip.MustParseAddr(text).Unmap(), w.ended[i].Address)
	}
}

// TestRebinding: each connection goes to the address that was checked for it.
func TestRebinding(t *testing.T) {
	w := newWorld(t)
	target := w.serves(granted, echo)
	c := w.connect(target)
	require.NotEmpty(t, c.says(t, hello(named(granted))))
	w.mu.Lock()
	w.names[granted] = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	w.mu.Unlock()
	require.NotEmpty(t, c.says(t, []byte("still there")))
	require.Equal(t, "egress_not_public", w.connect(target).code)
	w.mu.Lock()
	w.names[granted] = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("127.0.0.1")}
	w.mu.Unlock()
	require.Equal(t, http.StatusOK, w.connect(target).status, "what may be reached of several is")
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), w.begun[1].Address)
	require.Len(t, w.asked, 3, "each is asked for once")
}

func TestManyAnswers(t *testing.T) {
	w := newWorld(t)
	target := w.serves(granted, echo)
	w.names[granted] = append(slices.Repeat([]netip.Addr{netip.MustParseAddr("10.0.0.1")}, maxAnswers), netip.MustParseAddr("127.0.0.1"))
	require.Equal(t, "egress_not_public", w.connect(target).code)
	w.names[granted] = append(slices.Repeat([]netip.Addr{netip.MustParseAddr("127.0.0.2")}, maxTries), netip.MustParseAddr("127.0.0.1"))
	require.Equal(t, "egress_unreachable", w.connect(target).code)
}

func TestWhoAsks(t *testing.T) {
	w := newWorld(t)
	target := w.serves(granted, echo)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		request, err := http.NewRequestWithContext(t.Context(), method, w.http.URL+"/", nil)
		require.NoError(t, err)
		answer, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, "egress_tls_only", answer.Header.Get("X-Code"))
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.http.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "CONNECT "+target+" HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\n\r\n")
	require.NoError(t, err)
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	require.Contains(t, string(answer[:n]), "token_missing")
	require.Empty(t, w.ended)
	require.Empty(t, w.asked)
}

// TestNothingWithoutRecord: what cannot be kept does not begin.
func TestNothingWithoutRecord(t *testing.T) {
	w := newWorld(t)
	heard := make(chan int, 1)
	target := w.serves(granted, func(conn net.Conn) {
		n, _ := conn.Read(make([]byte, 1))
		heard <- n
	})
	w.beginErr = fault.New(fault.Conflict, "session_closed", "over")
	require.Equal(t, "session_closed", w.connect(target, hello(named(granted))...).code)
	require.Zero(t, <-heard)
	require.Empty(t, w.ended)
}

func TestResolver(t *testing.T) {
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	asked := make(chan string, 16)
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			asked <- string(buffer[12:n])
			buffer[2], buffer[3] = buffer[2]|0x80, 3 // no such name
			_, _ = server.WriteTo(buffer[:n], from)
		}
	}()
	resolve := Resolver(netip.MustParseAddrPort(server.LocalAddr().String()))
	w := newWorld(t, func(c *Config) { c.Resolve = resolve })
	w.session.Hosts = []string{granted}
	require.Equal(t, "egress_unresolved", w.connect(granted+":443").code)
	require.Contains(t, <-asked, "\x03api\x07example\x03com\x00", "without search domains")
}

func TestShown(t *testing.T) {
	require.Equal(t, "10.0.0.1:443", shown("10.0.0.1:443"))
	require.Equal(t, "a?b???", shown("a\nb\xff\u00e4\x00"))
	require.Len(t, shown(strings.Repeat("\u00e4", 1000)), maxShown)
}
