package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"agentmarket/fault"
	"agentmarket/gateway/tools"
	"agentmarket/ids"
	"agentmarket/product"
)

// Secrets reads secrets. The organization is empty for those of the operators. One that
// there is not is fault.NotFound.
type Secrets interface {
	Secret(ctx context.Context, org ids.Org, name string) ([]byte, error)
}

// Tools is what runs are granted of tools.
type Tools struct {
	Servers   ToolServers
	Approvals ToolApprovals
	// Secrets are the credentials of servers. Nil: there are none, and servers that want
	// one do not work.
	Secrets Secrets
	// Private are networks of the platform, beside those that are private by themselves,
	// that servers of organizations may not be in.
	Private []netip.Prefix
}

// ToolServers is what is asked of the servers of tools.
type ToolServers interface {
	ToolServers(ctx context.Context, org ids.Org) ([]product.ToolServer, error)
}

// ToolApprovals is what is asked of the approvals of calls.
type ToolApprovals interface {
	AskForTool(ctx context.Context, a product.ToolApproval) (product.ToolApproval, error)
	UseToolApproval(ctx context.Context, a product.ToolApproval, at time.Time) (bool, error)
	ToolDecisions(ctx context.Context, list []ids.ToolApproval) (map[ids.ToolApproval]product.Decision, error)
}

// toolCalls is the endpoint of tools. Its calls have places of their own, so that those
// that wait for a person keep no place from events and heartbeats.
type toolCalls struct {
	endpoint    http.Handler
	places      *limits
	decisions   *decisions
	anywhere    *http.Client
	publicHosts *http.Client
}

func (g *gateway) startTools() (*toolCalls, error) {
	t := &toolCalls{
		places: newLimits(g.Now), decisions: newDecisions(g.Tools.Approvals.ToolDecisions, g.Log),
		anywhere: tools.AnyClient(), publicHosts: tools.PublicClient(g.Tools.Private...),
	}
	var err error
	t.endpoint, err = tools.New(tools.Config{
		Session: g.toolSession, Servers: g.toolServers, Approve: g.approveTool, Record: g.recordTool,
		HTTPClient: t.publicHosts, Log: g.Log, Now: g.Now, ApprovalTimeout: product.ToolApprovalTimeout,
	})
	return t, err
}

// toolSession is whose request it is. It ends with the attempt.
func (g *gateway) toolSession(r *http.Request) (tools.Session, error) {
	token, ok := bearer(r)
	if !ok {
		return tools.Session{}, tokenMissing()
	}
	ref, err := g.Identities.Attempt(r.Context(), token)
	if err != nil {
		return tools.Session{}, err
	}
	if err := g.tools.places.enter(ref.Run); err != nil {
		return tools.Session{}, err
	}
	context.AfterFunc(r.Context(), func() { g.tools.places.leave(ref.Run) }) // which ends with the answer
	run, err := g.open(r.Context(), ref)
	if err != nil {
		return tools.Session{}, err
	}
	ended, done := g.watch.add(ref)
	context.AfterFunc(r.Context(), done)
	return tools.Session{Run: ref.Run, Attempt: ref.Attempt, Org: run.OrgID, Grants: run.Plan.Tools, Ended: ended}, nil
}

// toolServers are the servers that a run may know of.
func (g *gateway) toolServers(ctx context.Context, s tools.Session) ([]tools.Server, error) {
	own, err := g.Tools.Servers.ToolServers(ctx, s.Org)
	if err != nil {
		return nil, err
	}
	operators, err := g.Tools.Servers.ToolServers(ctx, "")
	if err != nil {
		return nil, err
	}
	var servers []tools.Server
	for _, known := range product.ToolServersOf(own, operators) {
		server := tools.Server{
			Name: known.Name, URL: known.URL, Timeout: known.Timeout, MaxBytes: known.MaxBytes, ApproveTools: known.ApproveTools,
			HTTPClient: g.tools.publicHosts,
		}
		if known.OrgID == "" {
			server.HTTPClient = g.tools.anywhere
		}
		if known.Secret != "" {
			server.Headers = g.credential(known)
		}
		servers = append(servers, server)
	}
	return servers, nil
}

const maxCredential = 8 << 10

// credential is the header that a server wants. A token alone is one of the scheme Bearer
// where the header names a scheme.
func (g *gateway) credential(s product.ToolServer) func(context.Context) (http.Header, error) {
	return func(ctx context.Context) (http.Header, error) {
		if g.Tools.Secrets == nil {
			return nil, fault.New(fault.Unavailable, "", "there are no secrets here")
		}
		secret, err := g.Tools.Secrets.Secret(ctx, s.OrgID, s.Secret)
		if err != nil {
			return nil, fmt.Errorf("read secret %s: %w", s.Secret, err)
		}
		value := bytes.TrimSpace(secret)
		if len(value) == 0 || len(value) > maxCredential || bytes.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("secret %s is no value of a header: printable ASCII of at most %d bytes", s.Secret, maxCredential)
		}
		text := string(value)
		if strings.EqualFold(s.Header, "Authorization") && !strings.Contains(text, " ") {
			text = "Bearer " + text
		}
		return http.Header{s.Header: {text}}, nil
	}
}

// approveTool asks a person. A call that is made again finds what was asked before.
func (g *gateway) approveTool(ctx context.Context, s tools.Session, c tools.Call, arguments json.RawMessage) (bool, error) {
	if len(arguments) > product.MaxApprovedArguments {
		return false, fault.Newf(fault.TooLarge, "arguments_too_large", "what a person has to agree to has at most %d bytes of arguments", product.MaxApprovedArguments)
	}
	for {
		now := g.Now()
		asked, err := g.Tools.Approvals.AskForTool(ctx, product.ToolApproval{
			ID: ids.New[ids.ToolApproval](ids.PrefixToolApproval), RunID: s.Run, Attempt: s.Attempt, Server: c.Server, Tool: c.Tool,
			Arguments: arguments, RequestedAt: now, Deadline: now.Add(product.ToolApprovalTimeout),
		})
		if err != nil {
			return false, err
		}
		decision := asked.Decision
		if decision == "" {
			waiting, cancel := context.WithTimeout(ctx, asked.Deadline.Sub(now))
			decision, err = g.tools.decisions.wait(waiting, asked.ID)
			cancel()
			if err != nil {
				return false, err
			}
		}
		if decision != product.DecisionApproved {
			return false, nil
		}
		used, err := g.Tools.Approvals.UseToolApproval(ctx, asked, g.Now())
		if err != nil || used {
			return used, err
		}
		// The same call at the same time had it: this one is another.
	}
}

// toolCall is what an event says of a call: of its arguments the names and sizes alone.
type toolCall struct {
	Server      string         `json:"server,omitempty"`
	Tool        string         `json:"tool,omitempty"`
	Name        string         `json:"name"`
	Outcome     tools.Outcome  `json:"outcome"`
	Millis      int64          `json:"duration_ms"`
	Arguments   []toolArgument `json:"arguments,omitempty"`
	ArgBytes    int            `json:"argument_bytes"`
	ArgSHA256   string         `json:"arguments_sha256"`
	ResultBytes int            `json:"result_bytes"`
}

type toolArgument struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Bytes int    `json:"bytes"`
}

// recordTool keeps that a call was made, whatever has become of its run.
func (g *gateway) recordTool(ctx context.Context, c tools.Call) {
	said := toolCall{
		Server: c.Server, Tool: c.Tool, Name: c.Name, Outcome: c.Outcome, Millis: int64(c.Duration / time.Millisecond),
		ArgBytes: c.ArgumentBytes, ArgSHA256: c.ArgumentsSHA256, ResultBytes: c.ResultBytes,
	}
	for _, a := range c.Arguments {
		said.Arguments = append(said.Arguments, toolArgument(a))
	}
	data, err := json.Marshal(said)
	if err == nil {
		err = g.tells.tell(ctx, product.Told{Run: c.Run, Attempt: c.Attempt, Late: true, Events: []product.Event{{
			Type: product.EventToolCall, At: g.Now(), Message: c.Name, Data: data,
		}}})
	}
	if err != nil {
		g.Log.WarnContext(ctx, "call of a tool not recorded", "run_id", c.Run, "attempt", c.Attempt, "server", c.Server, "outcome", c.Outcome, "error", err)
	}
}
