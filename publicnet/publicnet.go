package publicnet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrNotPublic refuses a connection to an address that not everybody reaches.
var ErrNotPublic = errors.New("the address is not public")

// connectTimeout bounds each of connecting and the handshake.
const connectTimeout = 5 * time.Second

// Transport returns a transport that connects to public addresses only, whatever a
// name or a redirect points at; everything else is [ErrNotPublic], and so are the
// networks of the platform that are named, which may have addresses that look
// public. It takes no proxy, which would connect in its place. The caller may set
// bounds of his own, but not how it dials.
func Transport(private ...netip.Prefix) *http.Transport {
	dialer := &net.Dialer{Timeout: connectTimeout, ControlContext: refuse(private)}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, absolute(address))
		},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: 10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10, MaxIdleConns: 10, IdleConnTimeout: 30 * time.Second,
	}
}

// AnyTransport is Transport to any address, for development and tests.
func AnyTransport() *http.Transport {
	transport := Transport()
	transport.DialContext = (&net.Dialer{Timeout: connectTimeout}).DialContext
	return transport
}

// refuse is asked when the name is resolved, before each connection.
func refuse(private []netip.Prefix) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !Outside(at.Addr(), private) {
			return ErrNotPublic
		}
		return nil
	}
}

// absolute makes the name in an address one that is complete: without it the search
// domains of a pod would turn the name of a service into its address, and so tell
// which services there are.
func absolute(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.HasSuffix(host, ".") {
		return address
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return address
	}
	return net.JoinHostPort(host+".", port)
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// reserved are the blocks of RFC 6890 and its successors that netip has no word
// for and that may lead somewhere inside.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),        // this network
	netip.MustParsePrefix("100.64.0.0/10"),    // shared by a provider's customers
	netip.MustParsePrefix("192.0.0.0/24"),     // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),     // documentation
	netip.MustParsePrefix("192.88.99.0/24"),   // 6to4 relays, deprecated
	netip.MustParsePrefix("198.18.0.0/15"),    // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"),  // documentation
	netip.MustParsePrefix("203.0.113.0/24"),   // documentation
	netip.MustParsePrefix("240.0.0.0/4"),      // reserved, broadcast
	netip.MustParsePrefix("168.63.129.16/32"), // the host, in one of the large clouds
	netip.MustParsePrefix("::/96"),            // IPv4 in the deprecated form
	netip.MustParsePrefix("::ffff:0:0:0/96"),  // IPv4, translated
	netip.MustParsePrefix("64:ff9b::/96"),     // IPv4 behind a translator
	netip.MustParsePrefix("64:ff9b:1::/48"),   // the same, local
	netip.MustParsePrefix("100::/64"),         // discard
	netip.MustParsePrefix("2001::/23"),        // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),    // documentation
	netip.MustParsePrefix("3fff::/20"),        // documentation
	netip.MustParsePrefix("2002::/16"),        // 6to4
	netip.MustParsePrefix("5f00::/16"),        // segment routing
	netip.MustParsePrefix("fec0::/10"),        // site-local, deprecated
}

// Outside reports whether an address is public and in none of the platform's own networks,
// which may have addresses that look public.
func Outside(addr netip.Addr, private []netip.Prefix) bool {
	return Public(addr) && !within(private, addr)
}

// Public reports whether everybody reaches an address: neither one of this
// computer, of a private network or of a link, nor one that is reserved.
func Public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !within(reserved, addr)
}
