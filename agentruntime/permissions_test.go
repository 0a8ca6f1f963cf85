package agentruntime_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
)

// list is a JSON list of n entries, each made from its index.
func list(n int, entry string) string {
	var entries []string
	for i := range n {
		entries = append(entries, fmt.Sprintf(entry, i))
	}
	data, _ := json.Marshal(entries)
	return string(data)
}

func TestPermissionNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("b", 61) // 253 characters
	for field, names := range map[string]map[string]bool{
		"tools": {
			"a": true, "search": true, "acme/search.v2": true, "a-b_c": true, strings.Repeat("a", 128): true,
			"": false, strings.Repeat("a", 129): false, "Search": false, "/search": false, "search/": false,
			"a b": false, "a\n": false, "größe": false,
		},
		"models": {
			"a": true, "gpt-5.2": true, "vendor/Model_1:large": true, strings.Repeat("a", 100): true,
			"": false, strings.Repeat("a", 101): false, "-a": false, "a/": false, "a b": false, "a*": false, "a\n": false,
		},
		"secrets": {
			"A": true, "GITHUB_TOKEN": true, "A1": true, "A" + strings.Repeat("_", 63): true,
			"": false, "A" + strings.Repeat("_", 64): false, "_A": false, "1A": false, "token": false, "A-B": false, "A\n": false,
		},
		"egress": {
			"example.com": true, "api.example.com": true, "api.example.com:443": true, "*.example.com": true,
			"*.example.com:8443": true, "a.b.c.d.example.com:1": true, "example.com:65535": true,
			"xn--bcher-kva.example": true, "a--b.example": true, "1.example": true, longest: true, "*." + longest + ":443": true,
			"": false, ".": false, "*": false, "*.": false, "com": false, "*.com": false, "localhost": false,
			"localhost:80": false, "a.localhost": false, "*.a.localhost": false, "Example.com": false,
			"example.com.": false, ".example.com": false, "a..example.com": false, "-a.example.com": false,
			"a-.example.com": false, "a_b.example.com": false, "*a.example.com": false, "a.*.example.com": false,
			"*.*.example.com": false, "example.com:": false, "example.com:0": false, "example.com:080": false,
			"example.com:65536": false, "example.com:99999": false, "example.com:+1": false, "example.com:1:2": false,
			"127.0.0.1": false, "127.0.0.1:80": false, "10.1": false, "0x7f.0x1": false, "[::1]": false, "::1": false,
			"https://example.com": false, "example.com/path": false, "user@example.com": false, "example.com\n": false,
			"bücher.example": false, label + "a.example": false, "a" + longest: false,
		},
	} {
		for name, valid := range names {
			_, err := agentruntime.ParseManifest([]byte(with(field, `[`+quoted(name)+`]`)))
			if valid {
				require.NoError(t, err, "%s %q", field, name)
				continue
			}
			require.True(t, fault.Is(err, fault.Invalid), "%s %q: %v", field, name, err)
			require.Equal(t, "/"+field+"/0", fault.From(err).Fields[0].Pointer, "%q", name)
		}
	}
}

func TestPermissionLists(t *testing.T) {
	for _, tt := range []struct{ field, value, pointer string }{
		{"tools", list(64, "t%d"), ""},
		{"tools", list(65, "t%d"), "/tools"},
		{"models", list(16, "m%d"), ""},
		{"models", list(17, "m%d"), "/models"},
		{"secrets", list(32, "S%d"), ""},
		{"secrets", list(33, "S%d"), "/secrets"},
		{"secret_files", `["A"]`, "/secret_files/0"},
		{"egress", list(64, "h%d.example.com"), ""},
		{"egress", list(65, "h%d.example.com"), "/egress"},
		{"tools", `["a","b","a"]`, "/tools/2"},
		{"secrets", `["A","A"]`, "/secrets/1"},
		{"egress", `["a.example.com","b.example.com","c.example.com","a.example.com"]`, "/egress/3"},
		{"egress", `["a.example.com","a.example.com:443","*.a.example.com"]`, ""},
	} {
		_, err := agentruntime.ParseManifest([]byte(with(tt.field, tt.value)))
		if tt.pointer == "" {
			require.NoError(t, err, tt.value)
			continue
		}
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", tt.value, err)
		require.Equal(t, tt.pointer, fault.From(err).Fields[0].Pointer, tt.value)
	}
}

func TestSecretFiles(t *testing.T) {
	for _, tt := range []struct {
		files   []string
		pointer string
	}{
		{[]string{"A", "H"}, ""},
		{[]string{"A", "B", "C", "D", "E", "F", "G", "H"}, ""},
		{[]string{"A", "B", "C", "D", "E", "F", "G", "H", "I"}, "/secret_files"},
		{[]string{"A", "Z"}, "/secret_files/1"},
		{[]string{"A", "A"}, "/secret_files/1"},
	} {
		m, err := agentruntime.ParseManifest([]byte(smallest))
		require.NoError(t, err)
		m.Secrets, m.SecretFiles = []string{"A", "B", "C", "D", "E", "F", "G", "H", "I"}, tt.files
		if err = m.Validate(); tt.pointer == "" {
			require.NoError(t, err, tt.files)
			continue
		}
		require.True(t, fault.Is(err, fault.Invalid), "%s: %v", tt.files, err)
		require.Equal(t, tt.pointer, fault.From(err).Fields[0].Pointer, tt.files)
	}
}

// TestEmptyPermissionsAreAbsent: equal manifests have equal JSON.
func TestEmptyPermissionsAreAbsent(t *testing.T) {
	want, err := agentruntime.ParseManifest([]byte(smallest))
	require.NoError(t, err)
	for _, field := range []string{"tools", "models", "secrets", "secret_files", "egress"} {
		for _, value := range []string{`[]`, `null`} {
			got, err := agentruntime.ParseManifest([]byte(with(field, value)))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got), "%s: %s", field, value)
		}
	}
	data, err := json.Marshal(want)
	require.NoError(t, err)
	require.NotContains(t, string(data), "egress")
}
