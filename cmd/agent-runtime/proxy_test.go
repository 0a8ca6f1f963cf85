package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

// gatewayOf takes connections as the gateway does, and echoes.
func gatewayOf(t *testing.T) (url string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Proxy-Authorization"))
		mu.Unlock()
		if r.RequestURI != "api.example.com:443" {
			http.Error(w, "not granted", http.StatusForbidden)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		_, _ = io.Copy(conn, buffered)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string{}, seen...)
	}
}

func connect(t *testing.T, proxy, request string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(proxy, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, request)
	require.NoError(t, err)
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	require.NoError(t, err)
	return conn, reader, answer
}

func connectTo(target string) string {
	return fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target)
}

func TestProxy(t *testing.T) {
	gateway, asked := gatewayOf(t)
	launch := agentruntime.Launch{Gateway: gateway, TokenFile: filepath.Join(t.TempDir(), "token")}
	proxy, err := startProxy(launch)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(proxy, "http://127.0.0.1:"))
	_, _, answer := connect(t, proxy, connectTo("api.example.com:443"))
	require.Equal(t, http.StatusBadGateway, answer.StatusCode, "there is no token yet")

	for _, token := range []string{"first", "second"} { // it is replaced
		require.NoError(t, os.WriteFile(launch.TokenFile, []byte(token+"\n"), 0o600))
		conn, reader, answer := connect(t, proxy, connectTo("api.example.com:443")+"early ")
		require.Equal(t, http.StatusOK, answer.StatusCode)
		_, err := io.WriteString(conn, "and late")
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		said, err := io.ReadAll(reader)
		require.NoError(t, err)
		require.Equal(t, "early and late", string(said))
	}
	_, reader, answer := connect(t, proxy, connectTo("other.example.com:443"))
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	_, err = io.ReadAll(reader)
	require.NoError(t, err, "a refused connection ends")
	require.Equal(t, []string{
		"CONNECT api.example.com:443 Bearer first", "CONNECT api.example.com:443 Bearer second", "CONNECT other.example.com:443 Bearer second",
	}, asked())

	for _, request := range []string{"GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		_, _, answer = connect(t, proxy, request)
		require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
	}
	require.Len(t, asked(), 3)
}

func TestProxyHasSoManyConnections(t *testing.T) {
	gateway, _ := gatewayOf(t)
	launch := agentruntime.Launch{Gateway: gateway, TokenFile: filepath.Join(t.TempDir(), "token")}
	require.NoError(t, os.WriteFile(launch.TokenFile, []byte("token"), 0o600))
	proxy, err := startProxy(launch)
	require.NoError(t, err)
	var first net.Conn
	for i := range maxConnections {
		conn, _, answer := connect(t, proxy, connectTo("api.example.com:443"))
		require.Equal(t, http.StatusOK, answer.StatusCode)
		if i == 0 {
			first = conn
		}
	}
	_, _, answer := connect(t, proxy, connectTo("api.example.com:443"))
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool {
		_, _, answer := connect(t, proxy, connectTo("api.example.com:443"))
		return answer.StatusCode == http.StatusOK
	}, 10*time.Second, 10*time.Millisecond, "one has left")
}

func TestProxyWithoutGateway(t *testing.T) {
	launch := agentruntime.Launch{Gateway: "http://127.0.0.1:1", TokenFile: filepath.Join(t.TempDir(), "token")}
	require.NoError(t, os.WriteFile(launch.TokenFile, []byte("token"), 0o600))
	proxy, err := startProxy(launch)
	require.NoError(t, err)
	_, _, answer := connect(t, proxy, connectTo("api.example.com:443"))
	require.Equal(t, http.StatusBadGateway, answer.StatusCode)
}
