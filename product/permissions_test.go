package product

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
)

func TestPermissionsOf(t *testing.T) {
	m := aManifest()
	require.Empty(t, cmp.Diff(Permissions{CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64, RunSeconds: 300}, PermissionsOf(m)))
	require.False(t, PermissionsOf(m).NeedsConsent())

	m.SecretFiles = []string{"Y", "X"}
	m.Tools, m.Models, m.Secrets, m.Egress = []string{"b", "a"}, []string{"n", "m"}, []string{"Y", "X"}, []string{"b.example.com", "a.example.com"}
	want := Permissions{
		Tools: []string{"a", "b"}, Models: []string{"m", "n"}, Secrets: []string{"X", "Y"}, SecretFiles: []string{"X", "Y"},
		Egress:    []string{"a.example.com", "b.example.com"},
		CPUMillis: 500, MemoryMiB: 128, DiskMiB: 64, RunSeconds: 300,
	}
	require.Empty(t, cmp.Diff(want, PermissionsOf(m)))
	require.Equal(t, []string{"b", "a"}, m.Tools, "the manifest is not touched")
	for name, m := range map[string]agentruntime.Manifest{
		"tool": {Tools: []string{"a"}}, "model": {Models: []string{"m"}}, "secret": {Secrets: []string{"X"}}, "host": {Egress: []string{"a.example.com"}},
	} {
		require.True(t, PermissionsOf(m).NeedsConsent(), name)
	}
}

func TestPermissionChange(t *testing.T) {
	list := func(names ...string) []string { return names }
	for _, tt := range []struct {
		name     string
		from, to Permissions
		want     PermissionChange
		widens   bool
	}{
		{"nothing", Permissions{Tools: list("a"), CPUMillis: 5}, Permissions{Tools: list("a"), CPUMillis: 5}, PermissionChange{}, false},
		{"a tool more", Permissions{Tools: list("a")}, Permissions{Tools: list("a", "b")},
			PermissionChange{ToolsAdded: list("b")}, true},
		{"a tool less", Permissions{Tools: list("a", "b")}, Permissions{Tools: list("b")},
			PermissionChange{ToolsRemoved: list("a")}, false},
		{"another secret", Permissions{Secrets: list("X")}, Permissions{Secrets: list("Y")},
			PermissionChange{SecretsAdded: list("Y"), SecretsRemoved: list("X")}, true},
		{"a secret less", Permissions{Secrets: list("X")}, Permissions{}, PermissionChange{SecretsRemoved: list("X")}, false},
		{"a secret to read", Permissions{Secrets: list("X")}, Permissions{Secrets: list("X"), SecretFiles: list("X")},
			PermissionChange{SecretFilesAdded: list("X")}, true},
		{"a secret to use only", Permissions{Secrets: list("X"), SecretFiles: list("X")}, Permissions{Secrets: list("X")},
			PermissionChange{SecretFilesRemoved: list("X")}, false},
		{"a model more", Permissions{}, Permissions{Models: list("m")}, PermissionChange{ModelsAdded: list("m")}, true},
		{"a model less", Permissions{Models: list("m")}, Permissions{}, PermissionChange{ModelsRemoved: list("m")}, false},
		{"a host more", Permissions{}, Permissions{Egress: list("a.example.com")},
			PermissionChange{EgressAdded: list("a.example.com")}, true},
		{"a host less", Permissions{Egress: list("a.example.com")}, Permissions{},
			PermissionChange{EgressRemoved: list("a.example.com")}, false},
		{"a host of a wildcard", Permissions{Egress: list("*.example.com")}, Permissions{Egress: list("*.example.com", "a.example.com")},
			PermissionChange{}, false},
		{"a host instead of a wildcard", Permissions{Egress: list("*.example.com")}, Permissions{Egress: list("a.example.com:443")},
			PermissionChange{EgressRemoved: list("*.example.com")}, false},
		{"a wildcard instead of a host", Permissions{Egress: list("a.example.com")}, Permissions{Egress: list("*.example.com")},
			PermissionChange{EgressAdded: list("*.example.com")}, true},
		{"more time", Permissions{RunSeconds: 5}, Permissions{RunSeconds: 6},
			PermissionChange{Envelope: []EnvelopeChange{{"run_seconds", 5, 6}}}, true},
		{"less of everything", Permissions{CPUMillis: 2, MemoryMiB: 2, DiskMiB: 2, RunSeconds: 2},
			Permissions{CPUMillis: 1, MemoryMiB: 1, DiskMiB: 1, RunSeconds: 1},
			PermissionChange{Envelope: []EnvelopeChange{{"cpu_millis", 2, 1}, {"memory_mib", 2, 1}, {"disk_mib", 2, 1}, {"run_seconds", 2, 1}}}, false},
		{"less of one, more of another", Permissions{CPUMillis: 2, DiskMiB: 1}, Permissions{CPUMillis: 1, DiskMiB: 2},
			PermissionChange{Envelope: []EnvelopeChange{{"cpu_millis", 2, 1}, {"disk_mib", 1, 2}}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.from.ChangeTo(tt.to)
			require.Empty(t, cmp.Diff(tt.want, got))
			require.Equal(t, tt.widens, got.Widens())
			require.Equal(t, !tt.widens, tt.from.Covers(tt.to))
			require.Equal(t, cmp.Equal(tt.want, PermissionChange{}), got.Empty())
		})
	}
}

func TestCoversHost(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		covers     bool
	}{
		{"a.example.com", "a.example.com", true},
		{"a.example.com", "a.example.com:443", true},
		{"a.example.com:443", "a.example.com:443", true},
		{"a.example.com:443", "a.example.com:80", false},
		{"a.example.com:443", "a.example.com", true},
		{"a.example.com", "a.example.com:80", false},
		{"a.example.com:8443", "a.example.com", false},
		{"a.example.com", "b.a.example.com", false},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "*.example.com:443", true},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com:443", true},
		{"*.example.com", "*.a.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "aexample.com", false},
		{"*.example.com", "a.example.com.evil.test", false},
		{"*.example.com", "a.example.org", false},
		{"*.a.example.com", "*.example.com", false},
		{"*.example.com:443", "a.example.com:443", true},
		{"*.example.com:443", "a.example.com:80", false},
		{"*.example.com:443", "a.example.com", true},
		{"*.example.com", "a.example.com:8443", false},
		{"*.example.com:443", "*.example.com", true},
	} {
		require.Equal(t, tt.covers, coversHost(tt.have, tt.want), "%s, %s", tt.have, tt.want)
	}
}

func TestGrantsHost(t *testing.T) {
	entries := []string{"api.example.com", "db.example.com:5432", "*.example.org"}
	for _, tt := range []struct {
		host    string
		port    uint16
		granted bool
	}{
		{"api.example.com", 443, true},
		{"api.example.com", 80, false},
		{"api.example.com", 8443, false},
		{"db.example.com", 5432, true},
		{"db.example.com", 443, false},
		{"a.example.org", 443, true},
		{"a.b.example.org", 443, true},
		{"example.org", 443, false},
		{"a.example.org", 8443, false},
		{"evil-example.org", 443, false},
		{"example.com", 443, false},
	} {
		require.Equal(t, tt.granted, GrantsHost(entries, tt.host, tt.port), "%s %d", tt.host, tt.port)
	}
	require.False(t, GrantsHost(nil, "api.example.com", 443))
}
