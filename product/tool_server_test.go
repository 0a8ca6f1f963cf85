package product_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/product"
)

func aToolServer(change func(*product.ToolServer)) product.ToolServer {
	s := product.ToolServer{
		OrgID: "org_1", Name: "desk", URL: "https://tools.example.com/mcp", Header: "Authorization", Secret: "DESK_TOKEN",
		Timeout: product.DefaultToolTimeout, MaxBytes: product.DefaultToolBytes, ApproveTools: []string{"pay", "delete*", "*"},
	}
	change(&s)
	return s
}

func TestToolServerCheck(t *testing.T) {
	require.NoError(t, aToolServer(func(*product.ToolServer) {}).Check())
	require.NoError(t, aToolServer(func(s *product.ToolServer) { s.Header, s.Secret, s.ApproveTools = "", "", nil }).Check())
	require.NoError(t, aToolServer(func(s *product.ToolServer) { s.OrgID, s.URL = "", "http://10.0.0.1:8080" }).Check(), "an operator's")
	for pointer, changes := range map[string][]func(*product.ToolServer){
		"/name": {
			func(s *product.ToolServer) { s.Name = "" }, func(s *product.ToolServer) { s.Name = "a_b" },
			func(s *product.ToolServer) { s.Name = "-a" }, func(s *product.ToolServer) { s.Name = strings.Repeat("a", 25) },
		},
		"/url": {
			func(s *product.ToolServer) { s.URL = "http://tools.example.com" }, func(s *product.ToolServer) { s.URL = "https://a:b@tools.example.com" },
			func(s *product.ToolServer) { s.URL = "https://" }, func(s *product.ToolServer) { s.URL = "https://a/#b" },
			func(s *product.ToolServer) { s.URL = "https://a:0/" }, func(s *product.ToolServer) { s.URL = "https://a/" + strings.Repeat("a", 2048) },
			func(s *product.ToolServer) { s.OrgID, s.URL = "", "file:///etc" },
		},
		"/credential": {func(s *product.ToolServer) { s.Header = "" }, func(s *product.ToolServer) { s.Secret = "" }},
		"/credential/header": {
			func(s *product.ToolServer) { s.Header = "HOST" }, func(s *product.ToolServer) { s.Header = "mcp-session-id" },
			func(s *product.ToolServer) { s.Header = "A\r\nB" }, func(s *product.ToolServer) { s.Header = "proxy-authorization" },
		},
		"/credential/secret": {func(s *product.ToolServer) { s.Secret = "../x" }},
		"/timeout_seconds":   {func(s *product.ToolServer) { s.Timeout = 0 }, func(s *product.ToolServer) { s.Timeout = product.MaxToolTimeout + 1 }},
		"/max_bytes":         {func(s *product.ToolServer) { s.MaxBytes = 1 }, func(s *product.ToolServer) { s.MaxBytes = product.MaxToolBytes + 1 }},
		"/approve_tools":     {func(s *product.ToolServer) { s.ApproveTools = make([]string, 65) }},
		"/approve_tools/0":   {func(s *product.ToolServer) { s.ApproveTools = []string{"a*b"} }},
	} {
		for _, change := range changes {
			err := aToolServer(change).Check()
			require.True(t, fault.Is(err, fault.Invalid), pointer)
			f := fault.From(err)
			require.Equal(t, "tool_server_invalid", f.Code)
			require.Equal(t, pointer, f.Fields[0].Pointer)
		}
	}
}

func TestToolServersOf(t *testing.T) {
	server := func(org, name string, disabled bool) product.ToolServer {
		return aToolServer(func(s *product.ToolServer) { s.OrgID, s.Name, s.Disabled = "", name, disabled; s.URL = org })
	}
	var got []string
	for _, s := range product.ToolServersOf(
		[]product.ToolServer{server("own", "a", false), server("own", "b", true)},
		[]product.ToolServer{server("platform", "a", false), server("platform", "b", false), server("platform", "c", false), server("platform", "d", true)},
	) {
		got = append(got, s.URL+"/"+s.Name)
	}
	require.Equal(t, []string{"own/a", "platform/c"}, got)
}
