package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmarket/fault"
)

const (
	recordTimeout = 5 * time.Second
	maxMessage    = 500 // of an error of a server
)

// errUnknownTool is the answer for a tool that there is not, or that is not granted.
var errUnknownTool = &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "unknown tool"}

// failure is a call that failed before the tool had its say.
type failure struct {
	outcome Outcome
	message string // for the agent
	cause   error  // for operators
}

// Error is the text for operators.
func (f failure) Error() string {
	if f.cause == nil {
		return f.message
	}
	return f.message + ": " + f.cause.Error()
}

// call answers tools/call. What fails is a result that the model can read, but for tools
// that there are not.
func (e *endpoint) call(ctx context.Context, s Session, asked *mcp.CallToolParamsRaw) (*mcp.CallToolResult, error) {
	if err := e.limits.take(s.Run); err != nil {
		f := fault.From(err)
		return failed(f.Code, f.Message), nil
	}
	c := Call{Run: s.Run, Attempt: s.Attempt, Name: short(asked.Name, maxName), Started: e.Now().UTC()}
	c.describe(asked.Arguments)
	result, err := e.perform(ctx, s, &c, asked)
	c.Outcome = Succeeded
	var f failure
	switch {
	case errors.As(err, &f):
		c.Outcome = f.outcome
	case err != nil:
		c.Outcome = ServerFailed
	case result.IsError:
		c.Outcome = ToolError
	}
	c.Duration = e.Now().Sub(c.Started)
	recording, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	e.Record(recording, c)
	switch {
	case err == nil:
		return result, nil
	case c.Outcome == UnknownTool:
		return nil, errUnknownTool
	case c.Outcome == ServerFailed:
		e.Log.WarnContext(ctx, "tool call failed", "run_id", s.Run, "attempt", s.Attempt, "server", c.Server, "tool", c.Tool, "error", short(err.Error(), maxMessage))
		return failed(string(ServerFailed), "the server of the tool does not answer as it should"), nil
	default:
		return failed(string(c.Outcome), f.message), nil
	}
}

// perform finds the tool, asks whoever has to agree, and calls it.
func (e *endpoint) perform(ctx context.Context, s Session, c *Call, asked *mcp.CallToolParamsRaw) (*mcp.CallToolResult, error) {
	server, tool, err := e.find(ctx, s, asked.Name)
	if err != nil {
		return nil, err
	}
	c.Server, c.Tool = server.Name, tool
	arguments := asked.Arguments
	if len(arguments) == 0 || string(arguments) == "null" {
		arguments = json.RawMessage(`{}`)
	}
	switch {
	case len(arguments) > maxArguments:
		return nil, failure{outcome: BadArguments, message: fmt.Sprintf("the arguments have more than %d bytes", maxArguments)}
	case !utf8.Valid(arguments) || !bytes.HasPrefix(arguments, []byte("{")):
		return nil, failure{outcome: BadArguments, message: "the arguments are not a JSON object"}
	}
	if slices.ContainsFunc(server.ApproveTools, func(have string) bool { return covers(have, tool) }) {
		if err := e.approve(ctx, s, *c, arguments); err != nil {
			return nil, err
		}
	}
	result, size, err := e.send(ctx, server, tool, arguments)
	c.ResultBytes = size
	return result, err
}

// find is the tool that an agent means, if it is granted.
func (e *endpoint) find(ctx context.Context, s Session, name string) (Server, string, error) {
	unknown := failure{outcome: UnknownTool, message: "unknown tool"}
	serverName, tool, shortened := split(name)
	if serverName == "" || !s.reaches(serverName) {
		return Server{}, "", unknown
	}
	servers, err := e.servers(ctx, s)
	if err != nil {
		return Server{}, "", err
	}
	server, known := servers[serverName]
	if !known {
		return Server{}, "", unknown
	}
	if shortened {
		if tool, err = e.unshorten(ctx, server, name); err != nil {
			return Server{}, "", err
		}
	}
	if tool == "" || !s.grants(server.Name, tool) {
		return Server{}, "", unknown
	}
	return server, tool, nil
}

// unshorten is the tool of a server that has a name; empty: none, or several.
func (e *endpoint) unshorten(ctx context.Context, s Server, name string) (string, error) {
	offers, err := e.offers(ctx, s)
	if err != nil {
		return "", ended(ctx, err)
	}
	found := ""
	for _, tool := range offers {
		if agentName(s.Name, tool.Name) != name {
			continue
		}
		if found != "" {
			return "", nil
		}
		found = tool.Name
	}
	return found, nil
}

// approve waits until a person has agreed.
func (e *endpoint) approve(ctx context.Context, s Session, c Call, arguments json.RawMessage) error {
	if e.Approve == nil {
		return failure{outcome: Denied, message: "the tool needs a person to agree, and nobody can be asked"}
	}
	waiting, cancel := context.WithTimeoutCause(ctx, e.ApprovalTimeout, errTimeout)
	defer cancel()
	agreed, err := e.Approve(waiting, s, c, arguments)
	switch {
	case waiting.Err() != nil: // an answer that comes too late is none
		return ended(waiting, waiting.Err())
	case err != nil:
		e.Log.WarnContext(ctx, "approval of a tool call failed", "run_id", s.Run, "server", c.Server, "tool", c.Tool, "error", err)
		return failure{outcome: Denied, message: "the person who has to agree cannot be asked", cause: err}
	case !agreed:
		return failure{outcome: Denied, message: "a person did not agree to this call"}
	}
	return nil
}

// send calls the tool at its server. Of the answer only the result goes on.
func (e *endpoint) send(ctx context.Context, s Server, tool string, arguments json.RawMessage) (*mcp.CallToolResult, int, error) {
	c, err := e.connect(ctx, s, s.timeout(), s.maxBytes())
	if err != nil {
		return nil, 0, ended(ctx, err)
	}
	defer c.close()
	got, err := c.session.CallTool(c.ctx, &mcp.CallToolParams{Name: tool, Arguments: arguments})
	var refused *jsonrpc.Error
	switch {
	case err == nil:
	case context.Cause(c.ctx) == nil && errors.As(err, &refused) && refused.Code == jsonrpc.CodeInvalidParams:
		// What is wrong with arguments is for the model to read, as a result is.
		got = failed("arguments_refused", short(refused.Message, maxMessage))
	default:
		return nil, 0, ended(ctx, because(c.ctx, err))
	}
	if got.NeedsInput() {
		return nil, 0, failure{outcome: ServerFailed, message: "the tool asks for more input", cause: errors.New("the tool asks its client for input")}
	}
	result := &mcp.CallToolResult{Content: got.Content, StructuredContent: got.StructuredContent, IsError: got.IsError}
	text, err := json.Marshal(result)
	if err != nil {
		return nil, 0, fmt.Errorf("encode result of %s/%s: %w", s.Name, tool, err)
	}
	if c.leaks(text) {
		return nil, len(text), fmt.Errorf("call %s/%s: the result has the credential of the server", s.Name, tool)
	}
	if int64(len(text)) > s.maxBytes() {
		return nil, len(text), ended(ctx, errTooLarge)
	}
	return result, len(text), nil
}

// ended says why a call has no result.
func ended(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errTooLarge):
		return failure{outcome: ResultLarge, message: "the result of the tool is too large; ask for less", cause: err}
	case errors.Is(err, errTimeout) || errors.Is(context.Cause(ctx), errTimeout):
		return failure{outcome: TimedOut, message: "the call took too long", cause: err}
	case ctx.Err() != nil:
		return failure{outcome: Ended, message: "the run does not go on", cause: err}
	default:
		return fmt.Errorf("call server: %w", err)
	}
}

// failed is a result that says why there is none.
func failed(code, message string) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: code + ": " + message}}}
}

// protocolError translates a fault for clients of MCP.
func protocolError(err error) error {
	f := fault.From(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "a part of the platform does not answer at the moment; try again"}
	}
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidRequest, Message: f.Code + ": " + f.Message}
}
