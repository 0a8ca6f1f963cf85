package gateway

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestListenerIsBounded: who opens connections and says nothing keeps others neither from
// theirs nor from the memory of the process.
func TestListenerIsBounded(t *testing.T) {
	tcp, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := newListener(tcp, 3)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	connect := func(from string) net.Conn {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
		conn, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	refused := func(conn net.Conn) {
		t.Helper()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := conn.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
	var inside []net.Conn
	for range 3 {
		connect("127.0.0.1")
		inside = append(inside, <-accepted)
	}
	refused(connect("127.0.0.1"))
	connect("127.0.0.2")
	neighbor := <-accepted

	require.NoError(t, inside[0].Close())
	require.Error(t, inside[0].Close(), "closed again")
	connect("127.0.0.1")
	inside[0] = <-accepted
	refused(connect("127.0.0.1"))

	for _, conn := range append(inside, neighbor) {
		require.NoError(t, conn.Close())
	}
	l.mu.Lock()
	require.Empty(t, l.open)
	require.Zero(t, l.all)
	l.mu.Unlock()

	l.mu.Lock()
	l.all = maxConnections
	l.mu.Unlock()
	refused(connect("127.0.0.3"))
}
