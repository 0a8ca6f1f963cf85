package egress

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/ids"
)

const granted = "api.example.com"

// world is a proxy of one run whose hosts are on this computer.
type world struct {
	t     *testing.T
	proxy *Proxy
	http  *httptest.Server

	mu       sync.Mutex
	session  Session
	names    map[string][]netip.Addr
	asked    []string
	beginErr error
	begun    []Connection
	ended    []Connection
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{t: t, session: Session{Run: "run_1", Attempt: 2}, names: map[string][]netip.Addr{}}
	c := Config{
		Session: func(r *http.Request) (Session, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if r.Header.Get("Proxy-Authorization") != "Bearer t" {
				return Session{}, fault.New(fault.Unauthenticated, "token_missing", "no token")
			}
			s := w.session
			s.Run = ids.Run(cmp.Or(r.Header.Get("X-Run"), string(s.Run)))
			return s, nil
		},
		Begin: func(_ context.Context, c Connection) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.begun = append(w.begun, c)
			return w.beginErr
		},
		End: func(_ context.Context, c Connection) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, c)
			return nil
		},
		Refuse: func(out http.ResponseWriter, _ *http.Request, err error) {
			f := fault.From(err)
			out.Header().Set("X-Code", f.Code)
			out.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(out, f.Message)
		},
		Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.asked = append(w.asked, host)
			addresses, known := w.names[host]
			if !known {
				return nil, errors.New("no such host")
			}
			return slices.Clone(addresses), nil
		},
		Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Log:     slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&c)
	}
	w.proxy = New(c)
	w.http = httptest.NewServer(w.proxy)
	t.Cleanup(func() { w.proxy.Close(); w.http.Close() })
	return w
}

// grant grants a host on a port of this computer.
func (w *world) grant(host string, port int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	target := fmt.Sprintf("%s:%d", host, port)
	w.session.Hosts = append(w.session.Hosts, target)
	w.names[host] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	return target
}

// serves grants a host that answers as it is told.
func (w *world) serves(host string, answer func(net.Conn)) string {
	w.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	var open sync.WaitGroup
	w.t.Cleanup(func() { _ = l.Close(); open.Wait() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				answer(conn)
			})
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(w.t, err)
	number, err := strconv.Atoi(port)
	require.NoError(w.t, err)
	return w.grant(host, number)
}

// echo says back what it is told.
func echo(conn net.Conn) { _, _ = io.Copy(conn, conn) }

// client is a connection to the proxy.
type client struct {
	net.Conn
	buffered *bufio.Reader
	code     string // of a refusal
	status   int
}

// Read implements net.Conn.
func (c *client) Read(p []byte) (int, error) { return c.buffered.Read(p) }

// connect asks for a target; more is sent with the request.
func (w *world) connect(target string, more ...byte) *client {
	return w.connectAs("run_1", target, more...)
}

func (w *world) connectAs(run, target string, more ...byte) *client {
	w.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.http.Listener.Addr().String())
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(w.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = conn.Write(append([]byte("CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\nX-Run: "+run+"\r\nProxy-Authorization: Bearer t\r\n\r\n"), more...))
	require.NoError(w.t, err)
	c := &client{Conn: conn, buffered: bufio.NewReader(conn)}
	answer, err := http.ReadResponse(c.buffered, &http.Request{Method: http.MethodConnect})
	require.NoError(w.t, err)
	c.status, c.code = answer.StatusCode, answer.Header.Get("X-Code")
	return c
}

// says sends bytes, and reads as many back.
func (c *client) says(t *testing.T, text []byte) string {
	t.Helper()
	_, err := c.Write(text)
	require.NoError(t, err)
	back := make([]byte, len(text))
	_, err = io.ReadFull(c, back)
	require.NoError(t, err)
	return string(back)
}

// left waits for the record of a connection.
func (w *world) left(n int) []Connection {
	w.t.Helper()
	var ended []Connection
	require.Eventually(w.t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		ended = slices.Clone(w.ended)
		return len(ended) >= n
	}, 10*time.Second, time.Millisecond, "the ends are kept")
	require.Len(w.t, ended, n)
	return ended
}

func (w *world) outcome() Outcome {
	w.t.Helper()
	return w.left(1)[0].Outcome
}

func extension(id uint16, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, id), uint16(len(body))), body...)
}

// named is the extension with the name of a server.
func named(name string) []byte {
	entry := append(binary.BigEndian.AppendUint16([]byte{0}, uint16(len(name))), name...)
	return extension(0, append(binary.BigEndian.AppendUint16(nil, uint16(len(entry))), entry...))
}

// hello is a ClientHello in one record.
func hello(extensions ...[]byte) []byte {
	all := slices.Concat(extensions...)
	body := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 2, 0x13, 0x01, 1, 0},
		binary.BigEndian.AppendUint16(nil, uint16(len(all))), all)
	message := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return record(message)
}

func record(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{22, 3, 1}, uint16(len(message))), message...)
}
