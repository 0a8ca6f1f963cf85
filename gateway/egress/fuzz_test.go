package egress

import (
	"bytes"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// silent is a connection whose other side has said everything.
type silent struct{ net.Conn }

func (silent) Read([]byte) (int, error) { return 0, net.ErrClosed }

func FuzzHello(f *testing.F) {
	f.Add(hello(named(granted)))
	f.Add(hello(named("other.example.com")))
	f.Add(hello(named(granted), extension(extensionECH, []byte{1})))
	f.Add(hello())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		heard, outcome := readHello(silent{}, data, granted)
		require.True(t, bytes.HasPrefix(data, heard))
		require.LessOrEqual(t, len(heard), maxHello)
		if outcome == Closed { // the name may be in two records
			require.Greater(t, len(heard), len(granted))
			require.EqualValues(t, 22, heard[0])
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, target := range []string{"api.example.com:443", "[::1]:443", "127.0.0.1:80", "*.example.com:1", "a:b:c", ""} {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, target string) {
		host, port, err := parseTarget(target)
		if err != nil {
			require.Regexp(t, `^[ -~]{0,100}$`, shown(target))
			return
		}
		require.NotZero(t, port)
		require.Nil(t, net.ParseIP(host))
		require.Regexp(t, `^[a-z0-9.-]+\.[a-z][a-z0-9-]*$`, host)
	})
}
