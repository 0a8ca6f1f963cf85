package tools

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAgentNames(t *testing.T) {
	accepted := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	server := strings.Repeat("s", 24)
	seen := map[string]string{}
	for _, tool := range []string{"a", "_a", "__a", "a_b", "a-b", "a.b", "a/b", "A", "é", "a b", strings.Repeat("x", 38), strings.Repeat("x", 39),
		strings.Repeat("x", 39) + "y", strings.Repeat("x", 128), "a-0123abcd"} {
		name := agentName(server, tool)
		require.Regexp(t, accepted, name)
		require.Empty(t, seen[name], "%q and %q are called the same", tool, seen[name])
		seen[name] = tool
		gotServer, gotTool, shortened := split(name)
		require.Equal(t, server, gotServer)
		require.True(t, shortened || gotTool == tool, tool)
	}
}

// FuzzNames: a name that is plain is mapped back to its tool, and to no other server.
func FuzzNames(f *testing.F) {
	f.Add("desk", "echo")
	f.Add("desk", "_echo__x")
	f.Add("a-b", "files.read/é")
	f.Fuzz(func(t *testing.T, server, tool string) {
		split(tool)
		if !serverName.MatchString(server) || tool == "" {
			return
		}
		name := agentName(server, tool)
		require.LessOrEqual(t, len(name), maxName)
		gotServer, gotTool, shortened := split(name)
		require.Equal(t, server, gotServer)
		require.True(t, shortened || gotTool == tool)
	})
}

func TestGrants(t *testing.T) {
	s := Session{Grants: []string{"desk/echo", "files/*", "git/read*", "al*"}}
	for name, want := range map[string]bool{
		"desk/echo": true, "desk/echo2": false, "files/x": true, "files2/x": false, "git/read_file": true, "git/write": false, "alpha/x": true,
	} {
		server, tool, _ := strings.Cut(name, "/")
		require.Equal(t, want, s.grants(server, tool), name)
	}
	for server, want := range map[string]bool{"desk": true, "files": true, "git": true, "alpha": true, "a": false, "des": false, "desk2": false} {
		require.Equal(t, want, s.reaches(server), server)
	}
}
