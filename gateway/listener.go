package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
)

const (
	// defaultPerAddress is what all calls of a run at once need, and as much again.
	defaultPerAddress = 128
	// maxConnections bounds those of all pods: some 200 MiB, if they say something.
	maxConnections = 10_000
)

// listener holds the connections of one address, which is that of a pod, and those of all
// together within bounds: whoever connects need not say who he is. More of them are closed
// at once.
type listener struct {
	net.Listener
	perAddress int

	mu   sync.Mutex
	open map[netip.Addr]int
	all  int
}

func newListener(l net.Listener, perAddress int) *listener {
	if perAddress <= 0 {
		perAddress = defaultPerAddress
	}
	return &listener{Listener: l, perAddress: perAddress, open: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn, ok := accepted.(*net.TCPConn)
		if !ok {
			_ = accepted.Close()
			return nil, fmt.Errorf("a connection of %T, not of TCP", accepted)
		}
		at := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap() //nolint:forcetypeassert // of TCP
		if l.enter(at) {
			return &connected{TCPConn: conn, leave: sync.OnceFunc(func() { l.leave(at) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *listener) enter(at netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all >= maxConnections || l.open[at] >= l.perAddress {
		return false
	}
	l.all++
	l.open[at]++
	return true
}

func (l *listener) leave(at netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.open[at]--; l.open[at] == 0 {
		delete(l.open, at)
	}
}

// connected is a connection that is counted until it is closed.
type connected struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *connected) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
