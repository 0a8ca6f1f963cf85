package product

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"agentmarket/fault"
	"agentmarket/ids"
)

// ToolServer is an MCP server whose tools runs may be granted: server/tool.
type ToolServer struct {
	// OrgID is the organization for whose runs it is, and whose secret it carries.
	// Empty: one of the operators', for the runs of everybody.
	OrgID ids.Org
	// Name is the first part of the names of its tools: 1 to 24 lower-case letters,
	// digits and inner hyphens.
	Name string
	// URL is its endpoint, of streamable HTTP.
	URL string
	// Header is the header of its credential, and Secret the name of the secret with
	// the value. Both empty: it wants none.
	Header, Secret string
	// Timeout bounds a call, MaxBytes a result.
	Timeout  time.Duration
	MaxBytes int64
	// ApproveTools are its tools that a person has to agree to, each call. One that ends
	// in * means all that begin so.
	ApproveTools []string
	// Disabled servers have no tools.
	Disabled bool

	UpdatedBy string
	UpdatedAt time.Time
}

// The bounds of servers of tools.
const (
	MaxToolServers     = 16 // of an organization, and of the operators
	MaxToolServerURL   = 2048
	MaxApproveTools    = 64
	MinToolTimeout     = time.Second
	DefaultToolTimeout = time.Minute
	MaxToolTimeout     = 10 * time.Minute
	MinToolBytes       = 1 << 10
	DefaultToolBytes   = 1 << 20
	MaxToolBytes       = 8 << 20
)

var (
	toolServerName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$`)
	toolHeader     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)
	toolSecret     = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	approvedTool   = regexp.MustCompile(`^([A-Za-z0-9._/-]{1,128}|[A-Za-z0-9._/-]{0,127}\*)$`)
)

// notForCredentials are headers that say how a request is carried, or belong to the
// protocol, in lower case.
var notForCredentials = map[string]bool{
	"host": true, "content-length": true, "content-type": true, "content-encoding": true, "transfer-encoding": true, "connection": true,
	"upgrade": true, "te": true, "trailer": true, "keep-alive": true, "expect": true, "accept": true, "accept-encoding": true,
	"cookie": true, "last-event-id": true,
}

// ValidToolServerName reports whether a server can have a name.
func ValidToolServerName(name string) bool { return toolServerName.MatchString(name) }

// Check returns fault.Invalid with every field that is wrong. It says nothing of where
// the server is: that is known when it is connected to. An organization's server is one
// of https; where an operator's is, is his business.
func (s ToolServer) Check() error {
	var fields []fault.Field
	require := func(ok bool, pointer, message string) {
		if !ok {
			fields = append(fields, fault.Field{Pointer: pointer, Message: message})
		}
	}
	require(ValidToolServerName(s.Name), "/name", "must be 1 to 24 lower-case letters, digits and inner hyphens")
	if wrong := s.wrongURL(); wrong != "" {
		require(false, "/url", wrong)
	}
	require((s.Header == "") == (s.Secret == ""), "/credential", "must have both a header and a secret")
	header := strings.ToLower(s.Header)
	require(s.Header == "" || toolHeader.MatchString(s.Header) && !notForCredentials[header] &&
		!strings.HasPrefix(header, "mcp-") && !strings.HasPrefix(header, "proxy-"),
		"/credential/header", "must be the name of a header that may carry a credential")
	require(s.Secret == "" || toolSecret.MatchString(s.Secret), "/credential/secret", "must be the name of a secret: capital letters, digits and _")
	require(MinToolTimeout <= s.Timeout && s.Timeout <= MaxToolTimeout, "/timeout_seconds", "must be between 1 and 600")
	require(MinToolBytes <= s.MaxBytes && s.MaxBytes <= MaxToolBytes, "/max_bytes",
		fmt.Sprintf("must be between %d and %d", MinToolBytes, MaxToolBytes))
	require(len(s.ApproveTools) <= MaxApproveTools, "/approve_tools", fmt.Sprintf("must have at most %d entries", MaxApproveTools))
	for i, tool := range s.ApproveTools[:min(len(s.ApproveTools), MaxApproveTools)] {
		require(approvedTool.MatchString(tool), fmt.Sprintf("/approve_tools/%d", i), "must be the name of a tool, or the beginning of one and *")
	}
	if len(fields) > 0 {
		return fault.New(fault.Invalid, "tool_server_invalid", "the server of tools is not valid").WithFields(fields...)
	}
	return nil
}

// wrongURL says what is wrong with the URL; empty: nothing. What a parser says of it
// would repeat it.
func (s ToolServer) wrongURL() string {
	u, err := url.Parse(s.URL)
	switch {
	case len(s.URL) > MaxToolServerURL:
		return fmt.Sprintf("must have at most %d bytes", MaxToolServerURL)
	case err != nil || !utf8.ValidString(s.URL) || strings.ContainsAny(s.URL, " \\"):
		return "is not a URL"
	case u.Scheme != "https" && (s.OrgID != "" || u.Scheme != "http"):
		return "must begin with https://"
	case u.Hostname() == "" || !validPort(u.Port()):
		return "must have a host, and a port from 1 to 65535 where it has one"
	case u.User != nil:
		return "must not have a user name or a password: a credential is a secret"
	case strings.Contains(s.URL, "#"):
		return "must not have a fragment"
	}
	return ""
}

// ToolServersOf are the servers that a run of an organization knows: its own, and those
// of the operators whose names it has not taken. A server that is disabled keeps its name
// taken, so that an organization can do without one of the operators'.
func ToolServersOf(own, operators []ToolServer) []ToolServer {
	taken := map[string]bool{}
	var found []ToolServer
	for _, list := range [][]ToolServer{own, operators} {
		for _, s := range list {
			if !taken[s.Name] && !s.Disabled {
				found = append(found, s)
			}
			taken[s.Name] = true
		}
	}
	return found
}
