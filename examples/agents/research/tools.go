package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/openai/openai-go/v3"

	"agentmarket/agentruntime/agent"
)

const (
	maxTools      = 64
	maxArguments  = 32 << 10 // bytes
	maxToolResult = 8 << 10  // bytes, of which the model pays each, in each round
)

// toolbox is the tools of the run. Without any it is empty, and not connected.
type toolbox struct {
	session   *mcp.ClientSession
	functions []openai.ChatCompletionToolUnionParam // as models want them described
	names     map[string]bool
}

// openTools lists the tools that are granted. Their names, server__tool, are such that
// models take them as they are.
func openTools(ctx context.Context, run *agent.Run, granted []string) (*toolbox, error) {
	if len(granted) == 0 {
		return &toolbox{}, nil
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "research", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: run.ToolsURL(), HTTPClient: run.Client(), DisableStandaloneSSE: true,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("open tools: %w", err)
	}
	t := &toolbox{session: session, names: map[string]bool{}}
	for tool, err := range session.Tools(ctx, nil) {
		if err != nil {
			t.close()
			return nil, fmt.Errorf("list tools: %w", err)
		}
		if len(t.names) == maxTools {
			break
		}
		schema, _ := tool.InputSchema.(map[string]any) // another: no parameters
		t.names[tool.Name] = true
		t.functions = append(t.functions, openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{
			Name: tool.Name, Description: openai.String(tool.Description), Parameters: schema,
		}))
	}
	return t, nil
}

func (t *toolbox) close() {
	if t.session != nil {
		_ = t.session.Close() // the endpoint keeps no sessions
	}
}

// call calls a tool and returns a text for the model, which reads what went wrong, too.
// An error is of the gateway.
func (t *toolbox) call(ctx context.Context, name, arguments string) (string, error) {
	switch {
	case !t.names[name]:
		return "not called: there is no such tool", nil
	case len(arguments) > maxArguments:
		return fmt.Sprintf("not called: the arguments have more than %d bytes", maxArguments), nil
	case strings.TrimSpace(arguments) == "":
		arguments = "{}"
	case !isObject(arguments):
		return "not called: the arguments are not a JSON object", nil
	}
	result, err := t.session.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: json.RawMessage(arguments)})
	if err != nil {
		return "", fmt.Errorf("call tool %s: %w", name, err)
	}
	var texts []string
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			texts = append(texts, text.Text)
		}
	}
	text := clip(strings.Join(texts, "\n"), maxToolResult)
	switch {
	case result.IsError:
		return "failed: " + text, nil
	case text == "":
		return "done, without any text", nil
	}
	return text, nil
}

func isObject(text string) bool {
	var fields map[string]json.RawMessage
	return json.Unmarshal([]byte(text), &fields) == nil && fields != nil
}

// clip cuts a text to at most so many bytes, between two characters.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
