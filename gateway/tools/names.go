package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	maxName       = 64  // of a tool, for the agent
	maxServerTool = 128 // of a tool, at its server
	separator     = "__"
	hashDigits    = 8
)

var (
	// serverName leaves room for a tool's name, and has no underscore: the first two in
	// a name are the separator.
	serverName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)
	plainName  = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)
	unplain    = regexp.MustCompile(`[^a-zA-Z0-9_-]`)
	hashed     = regexp.MustCompile(`-[0-9a-f]{8}$`)
)

// agentName is what the agent calls a tool of a server.
func agentName(server, tool string) string {
	name := server + separator + tool
	if plainName.MatchString(tool) && len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(tool))
	name = server + separator + unplain.ReplaceAllString(tool, "-")
	return name[:min(len(name), maxName-hashDigits-1)] + "-" + hex.EncodeToString(sum[:hashDigits/2])
}

// split takes a name of the agent's apart. Where the name may be a shortened one, the
// tool is known only from what its server offers.
func split(name string) (server, tool string, shortened bool) {
	server, tool, found := strings.Cut(name, separator)
	if !found || tool == "" || len(name) > maxName || !serverName.MatchString(server) || !plainName.MatchString(tool) {
		return "", "", false
	}
	return server, tool, hashed.MatchString(tool)
}

// covers reports whether an entry means a name: it is the name, or the beginning of it
// and a *.
func covers(have, want string) bool {
	prefix, open := strings.CutSuffix(have, "*")
	return have == want || open && strings.HasPrefix(want, prefix)
}

// grants reports whether a session is granted a tool.
func (s Session) grants(server, tool string) bool {
	for _, have := range s.Grants {
		if covers(have, server+"/"+tool) {
			return true
		}
	}
	return false
}

// reaches reports whether a session may be granted anything of a server.
func (s Session) reaches(server string) bool {
	for _, have := range s.Grants {
		prefix, open := strings.CutSuffix(have, "*")
		if strings.HasPrefix(have, server+"/") || open && strings.HasPrefix(server+"/", prefix) {
			return true
		}
	}
	return false
}
