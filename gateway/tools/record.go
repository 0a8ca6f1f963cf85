package tools

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"agentmarket/ids"
)

// Outcome is how a call ended.
type Outcome string

// The outcomes.
const (
	Succeeded    Outcome = "succeeded"
	ToolError    Outcome = "tool_error"         // the tool says that it failed
	UnknownTool  Outcome = "unknown_tool"       // there is none, or it is not granted
	BadArguments Outcome = "arguments_invalid"  // too large, or no object
	Denied       Outcome = "denied"             // by a person, or for want of one
	TimedOut     Outcome = "timed_out"          // the server, or the person
	ResultLarge  Outcome = "result_too_large"   //
	ServerFailed Outcome = "server_unavailable" // not there, or it breaks the protocol
	Ended        Outcome = "ended"              // the agent has gone, or its session ended
)

// Call is a call as it is recorded: what was called, and the shape of what it was called
// with.
type Call struct {
	Run     ids.Run
	Attempt int
	// Server and Tool are as they are registered; empty: there is no such tool.
	Server, Tool string
	// Name is what the agent called, at most 64 bytes of it.
	Name string
	// Started is when the call came, Duration until it ended, the wait for a person
	// included.
	Started  time.Time
	Duration time.Duration
	Outcome  Outcome
	// Arguments are the names at the top of the arguments, sorted, at most 64, without
	// values. ArgumentBytes and ArgumentsSHA256 (hex) are of all of them, as they came.
	Arguments       []Argument
	ArgumentBytes   int
	ArgumentsSHA256 string
	// ResultBytes is the size of the result, as JSON.
	ResultBytes int
}

// Argument is the shape of one argument.
type Argument struct {
	Name  string // at most 64 bytes of it
	Type  string // string, number, boolean, null, array, object
	Bytes int    // of the value, as JSON
}

const (
	maxRecorded     = 64
	maxArgumentName = 64
)

// describe fills in what is recorded of arguments.
func (c *Call) describe(text json.RawMessage) {
	sum := sha256.Sum256(text)
	c.ArgumentBytes, c.ArgumentsSHA256 = len(text), hex.EncodeToString(sum[:])
	var fields map[string]json.RawMessage
	if len(text) > maxArguments || json.Unmarshal(text, &fields) != nil {
		return
	}
	for name, value := range fields {
		c.Arguments = append(c.Arguments, Argument{short(name, maxArgumentName), typeOf(value), len(value)})
	}
	slices.SortFunc(c.Arguments, func(a, b Argument) int { return strings.Compare(a.Name, b.Name) })
	c.Arguments = c.Arguments[:min(len(c.Arguments), maxRecorded)]
}

// typeOf is the JSON type of a value that is JSON.
func typeOf(value json.RawMessage) string {
	switch value[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	default:
		return "number"
	}
}
