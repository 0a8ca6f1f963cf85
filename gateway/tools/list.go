package tools

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"agentmarket/fault"
)

// The bounds of what servers offer.
const (
	listTimeout    = 10 * time.Second
	maxListBytes   = 4 << 20 // of one server
	maxListed      = 256     // tools of one server
	maxPages       = 16
	maxDescription = 4 << 10
	maxTitle       = 200
	maxSchema      = 32 << 10
)

// servers are those of a session that are set up right, by name.
func (e *endpoint) servers(ctx context.Context, s Session) (map[string]Server, error) {
	all, err := e.Servers(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(all) > maxServers {
		return nil, fault.Newf(fault.Internal, "", "a session has %d servers, more than %d", len(all), maxServers)
	}
	known := map[string]Server{}
	for _, server := range all {
		_, twice := known[server.Name]
		if err := server.validate(); err != nil || twice {
			e.Log.ErrorContext(ctx, "server of tools left out", "run_id", s.Run, "server", server.Name, "twice", twice, "error", err)
			continue
		}
		known[server.Name] = server
	}
	return known, nil
}

// list answers with the tools that are granted, sorted by name. Of a server that does not
// answer there are none.
func (e *endpoint) list(ctx context.Context, s Session) (*mcp.ListToolsResult, error) {
	if err := e.limits.take(s.Run); err != nil {
		return nil, protocolError(err)
	}
	servers, err := e.servers(ctx, s)
	if err != nil {
		e.Log.WarnContext(ctx, "servers of tools not known", "run_id", s.Run, "error", err)
		return nil, protocolError(err)
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	offered := []*mcp.Tool{}
	for _, server := range servers {
		if !s.reaches(server.Name) {
			continue
		}
		wait.Go(func() {
			tools, err := e.offers(ctx, server)
			if err != nil {
				e.Log.WarnContext(ctx, "server of tools does not list them", "run_id", s.Run, "server", server.Name, "error", short(err.Error(), maxMessage))
			}
			mu.Lock()
			defer mu.Unlock()
			for _, tool := range tools {
				if s.grants(server.Name, tool.Name) {
					offered = append(offered, e.offer(ctx, server, tool)...)
				}
			}
		})
	}
	wait.Wait()
	return &mcp.ListToolsResult{Tools: distinct(offered)}, nil
}

// offers are the tools that a server has.
func (e *endpoint) offers(ctx context.Context, s Server) ([]*mcp.Tool, error) {
	c, err := e.connect(ctx, s, min(listTimeout, s.timeout()), maxListBytes)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var tools []*mcp.Tool
	params := &mcp.ListToolsParams{}
	for range maxPages {
		page, err := c.session.ListTools(c.ctx, params)
		if err != nil {
			return tools, because(c.ctx, err)
		}
		tools = append(tools, page.Tools...)
		if page.NextCursor == "" || len(tools) >= maxListed {
			break
		}
		params.Cursor = page.NextCursor
	}
	return tools[:min(len(tools), maxListed)], nil
}

// offer is a tool as the agent sees it: nothing, where it is too large or none.
func (e *endpoint) offer(ctx context.Context, s Server, tool *mcp.Tool) []*mcp.Tool {
	schema, err := json.Marshal(tool.InputSchema)
	var object struct {
		Type string `json:"type"`
	}
	if err != nil || len(schema) > maxSchema || json.Unmarshal(schema, &object) != nil || object.Type != "object" || tool.Name == "" || len(tool.Name) > maxServerTool {
		e.Log.WarnContext(ctx, "tool left out", "server", s.Name, "tool", short(tool.Name, maxServerTool), "schema_bytes", len(schema))
		return nil
	}
	return []*mcp.Tool{{
		Name: agentName(s.Name, tool.Name), Title: short(tool.Title, maxTitle), Description: short(tool.Description, maxDescription),
		InputSchema: json.RawMessage(schema),
	}}
}

// distinct sorts tools by name, and leaves out those that have the same.
func distinct(tools []*mcp.Tool) []*mcp.Tool {
	count := map[string]int{}
	for _, tool := range tools {
		count[tool.Name]++
	}
	tools = slices.DeleteFunc(tools, func(t *mcp.Tool) bool { return count[t.Name] > 1 })
	slices.SortFunc(tools, func(a, b *mcp.Tool) int { return strings.Compare(a.Name, b.Name) })
	return tools
}

// short bounds a text of a server or an agent.
func short(text string, most int) string {
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}
