package registry

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

// TestResolveStaysOutside: nobody makes the platform connect to itself or to its
// neighbors by the name of an image.
func TestResolveStaysOutside(t *testing.T) {
	r := serve(t, func(*aRegistry, http.ResponseWriter, *http.Request) {})
	err := New(Config{}).Resolve(t.Context(), r.image())
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	require.Equal(t, CodeNotFound, fault.From(err).Code)
	require.ErrorContains(t, err, "not at a public address")
	require.Empty(t, r.asked)
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,

		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fd00::1": false, "fc00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "100.64.0.1": false, "100.127.255.255": false,
		"192.0.0.170": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.1.1.1": false, "ff02::1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false,
		"2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "100::1": false,
	} {
		require.Equal(t, want, public(netip.MustParseAddr(text)), text)
	}
}
