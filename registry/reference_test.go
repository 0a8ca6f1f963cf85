package registry

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var digest = "sha256:" + strings.Repeat("5e", 32)

func TestParse(t *testing.T) {
	for name, want := range map[string]reference{
		"registry.example/acme/hello":      {"registry.example", "acme/hello", digest},
		"registry.example/hello":           {"registry.example", "hello", digest},
		"registry.example:5000/a/b__c/d-e": {"registry.example:5000", "a/b__c/d-e", digest},
		"registry:5000/acme/hello":         {"registry:5000", "acme/hello", digest},
		"localhost/acme/hello":             {"localhost", "acme/hello", digest},
	} {
		got, ok := parse(name + "@" + digest)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	for _, image := range []string{
		// No registry is named.
		"hello@" + digest, "acme/hello@" + digest, "acme/team/hello@" + digest,
		"", "hello", "@" + digest, "hello:5000@" + digest, "registry.example/@" + digest, "registry.example/a//b@" + digest,
		"registry.example/../v2/x@" + digest, "registry.example/a..b@" + digest, "registry.example/A@" + digest,
		"registry.example/a?x=@" + digest, "registry.example/a@sha256:5e", "registry.example/a@sha512:" + strings.Repeat("5e", 64),
		"registry.example/a@" + digest + "@" + digest, "registry.example/a:tag@" + digest,
	} {
		_, ok := parse(image)
		require.False(t, ok, image)
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		prefix, image string
		want          bool
	}{
		{"local.example", "local.example/hello@" + digest, true},
		{"local.example/", "local.example/a/b@" + digest, true},
		{"local.example/a", "local.example/a@" + digest, true},
		{"local.example/a/", "local.example/a@" + digest, true},
		{"local.example/a", "local.example/ab@" + digest, false},
		{"local.example", "local.example.evil.example/hello@" + digest, false},
		{"local.example", "local.example:5000/hello@" + digest, true},
		{"local.example", "evil.example/local.example/hello@" + digest, false},
		{"local.example/a/b", "local.example/a@" + digest, false},
		{"hello@" + digest, "hello@" + digest, false},
	} {
		require.Equal(t, tt.want, covers(tt.prefix, tt.image), "%s %s", tt.prefix, tt.image)
	}
}
