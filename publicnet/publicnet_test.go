package publicnet_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/publicnet"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "172.32.0.1": true, "100.128.0.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,

		"127.0.0.1": false, "127.1.2.3": false, "::1": false, "0.0.0.0": false, "0.1.2.3": false, "::": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fd00::1": false, "fc00::1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "100.64.0.1": false, "100.127.255.255": false,
		"192.0.0.170": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.1.1.1": false, "ff02::1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b:1::1": false,
		"2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "100::1": false, "::7f00:1": false, "::a00:1": false, "3fff::1": false,
		"::ffff:0:10.0.0.1": false, "::ffff:0:7f00:1": false, "5f00::1": false, "192.88.99.1": false,
		"168.63.129.16": false, "168.63.129.17": true, "100.100.100.200": false, "fd00:ec2::254": false,
	} {
		require.Equal(t, want, publicnet.Public(netip.MustParseAddr(text)), text)
	}
}

func TestOutside(t *testing.T) {
	private := []netip.Prefix{netip.MustParsePrefix("34.118.224.0/20"), netip.MustParsePrefix("2a00:1450::/32")}
	for text, want := range map[string]bool{
		"8.8.8.8": true, "34.118.240.1": true, "2606:4700::1111": true,
		"34.118.224.1": false, "::ffff:34.118.224.1": false, "2a00:1450::1": false, "2a00:1450::1%eth0": false, "10.0.0.1": false,
	} {
		require.Equal(t, want, publicnet.Outside(netip.MustParseAddr(text), private), text)
	}
	require.False(t, publicnet.Outside(netip.Addr{}, nil), "none at all")
}

// TestTransportStaysOutside: what counts is the address that is connected to, not
// what it is called.
func TestTransportStaysOutside(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.example.com:3128")
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	require.NoError(t, err)

	get := func(transport *http.Transport, host string) error {
		t.Cleanup(transport.CloseIdleConnections)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(host, at.Port()), nil)
		require.NoError(t, err)
		response, err := transport.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "::1", "fc00::1"} {
		require.ErrorIs(t, get(publicnet.Transport(), host), publicnet.ErrNotPublic, host)
	}
	require.ErrorIs(t, get(publicnet.Transport(netip.MustParsePrefix("203.0.112.0/22"), netip.MustParsePrefix("34.118.224.0/20")), "34.118.224.1"),
		publicnet.ErrNotPublic, "a network of the platform")
	require.Error(t, get(publicnet.Transport(), "localhost"), "names are looked up as they are, without search domains")
	require.Zero(t, asked)
	require.NoError(t, get(publicnet.AnyTransport(), "127.0.0.1"))
	require.Equal(t, 1, asked)
}
