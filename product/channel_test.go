package product

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValidChannel(t *testing.T) {
	for name, valid := range map[string]bool{
		ChannelStable: true, "beta": true, "a": true, "next-2": true, "latest-1": true, strings.Repeat("a", 40): true,
		"": false, Latest: false, "1": false, "1.2.3": false, "-a": false, "a-": false, "Beta": false,
		"a.b": false, "a_b": false, "a/b": false, "beta\n": false, "größe": false, strings.Repeat("a", 41): false,
	} {
		require.Equal(t, valid, ValidChannel(name), "%q", name)
	}
}
