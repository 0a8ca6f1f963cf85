package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/httpfault"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

const (
	securityScheme = "api_key"
	schemaPrefix   = "#/components/schemas/"
	problemSchema  = "Problem"
)

// The tags of the calls, in the order of the documentation.
const (
	tagCatalog      = "catalog"
	tagAgents       = "agents"
	tagRuns         = "runs"
	tagBuying       = "buying"
	tagBilling      = "billing"
	tagPublishing   = "publishing"
	tagOrganization = "organization"
	tagPlatform     = "platform"
	tagHealth       = "health"
)

const introduction = `Start AI agents as durable runs and follow them.

Every call under /v1 needs an API key (but the one that accepts an invitation): ` + "`Authorization: Bearer amk_…`" + `.
Times are RFC 3339 in UTC, durations are whole seconds with the suffix _seconds.
Lists are newest first; pass next_cursor as cursor for the next page.
Every answer that is no success is a problem document (RFC 9457) with a stable code.

Statuses, reasons, codes and event types may grow: tolerate values that you do not know.`

// newSpec starts the description of the API. Documents and pages are served by
// descriptionOf: huma's own pages load scripts from a stranger's host. rewrite gets
// every answer before it is encoded.
func newSpec(engine *gin.Engine, version string, rewrite huma.Transformer) huma.API {
	registry := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	spec := humagin.New(engine, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "agentmarket", Version: version, Description: introduction},
			Tags: []*huma.Tag{
				{Name: tagCatalog, Description: "What there is: listings, their search and their reviews."},
				{Name: tagAgents, Description: "What can run: agents, their immutable versions and their channels."},
				{Name: tagRuns, Description: "What ran: the records of invocations."},
				{Name: tagBuying, Description: "How to get the right to run an agent: estimates, orders, entitlements, updates and consents."},
				{Name: tagBilling, Description: "What it costs: wallet, ledger, statements, spend limits."},
				{Name: tagPublishing, Description: "How an agent is offered: listing, submission, grants, prices."},
				{Name: tagOrganization, Description: "Who may what: members, teams, API keys, the audit log."},
				{Name: tagPlatform, Description: "For operators of the platform."},
				{Name: tagHealth, Description: "Whether the platform works."},
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{securityScheme: {
					Type: "http", Scheme: "bearer", BearerFormat: "amk_<prefix>_<secret>",
					Description: "An API key of an organization. The scopes that a call needs are listed with it.",
				}},
			},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{rewrite},
	})
	registry.Schema(reflect.TypeFor[problem](), true, problemSchema)
	return spec
}

// description is what the API says about itself, for programs and for people, and
// what it holds bodies to.
type description struct {
	document []byte
	page     []byte
	bodies   map[string]*jsonschema.Schema // by operation
}

// descriptions are made once for each version of the program: nothing else is in
// them, and making one takes a tenth of a second.
var descriptions struct {
	sync.Mutex
	of map[string]description
}

func descriptionOf(spec *huma.OpenAPI) description {
	descriptions.Lock()
	defer descriptions.Unlock()
	if d, made := descriptions.of[spec.Info.Version]; made {
		return d
	}
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own form of errors
		delete(spec.Components.Schemas.Map(), unused)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		panic(fmt.Errorf("encode OpenAPI document: %w", err))
	}
	var document bytes.Buffer
	if err := json.Indent(&document, text, "", "  "); err != nil {
		panic(fmt.Errorf("indent OpenAPI document: %w", err))
	}
	d := description{document: document.Bytes(), page: docsPage(spec), bodies: compileBodies(spec, text)}
	if descriptions.of == nil {
		descriptions.of = map[string]description{}
	}
	descriptions.of[spec.Info.Version] = d
	return d
}

// serve adds what is no call of the API.
func (d description) serve(engine *gin.Engine) {
	engine.GET("/openapi.json", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", d.document) })
	engine.GET("/docs", func(c *gin.Context) {
		c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
		c.Data(http.StatusOK, "text/html; charset=utf-8", d.page)
	})
}

//go:embed docs.html.tmpl
var docsTemplate string

type docsGroup struct {
	Name, Description string
	Calls             []docsCall
}

type docsCall struct {
	Method, Path, Scope string
	*huma.Operation
	Body      *huma.Schema
	Responses []docsResponse
}

type docsResponse struct {
	Status, Description string
	Codes               []string
}

// docsPage renders the documentation for people, without a script.
func docsPage(spec *huma.OpenAPI) []byte {
	groups := make([]docsGroup, len(spec.Tags))
	for i, tag := range spec.Tags {
		groups[i] = docsGroup{Name: tag.Name, Description: tag.Description}
		for path, item := range spec.Paths {
			for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
				if op != nil && slices.Contains(op.Tags, tag.Name) {
					groups[i].Calls = append(groups[i].Calls, docsOf(spec, path, op))
				}
			}
		}
		slices.SortFunc(groups[i].Calls, func(a, b docsCall) int {
			return strings.Compare(a.Path+a.Method, b.Path+b.Method)
		})
	}
	var page bytes.Buffer
	err := template.Must(template.New("docs").Parse(docsTemplate)).Execute(&page, map[string]any{
		"Info": spec.Info, "Groups": groups,
	})
	if err != nil {
		panic(fmt.Errorf("render documentation: %w", err))
	}
	return page.Bytes()
}

func docsOf(spec *huma.OpenAPI, path string, op *huma.Operation) docsCall {
	call := docsCall{Method: op.Method, Path: path, Operation: op}
	for _, requirement := range op.Security {
		call.Scope = strings.Join(append(requirement[securityScheme], call.Scope), "")
	}
	if op.RequestBody != nil {
		call.Body = op.RequestBody.Content["application/json"].Schema
		if call.Body.Ref != "" {
			call.Body = spec.Components.Schemas.SchemaFromRef(call.Body.Ref)
		}
	}
	for status, response := range op.Responses {
		r := docsResponse{Status: status, Description: response.Description}
		if content := response.Content[httpfault.ContentType]; content != nil {
			for code := range content.Examples {
				r.Codes = append(r.Codes, code)
			}
			slices.Sort(r.Codes)
		}
		call.Responses = append(call.Responses, r)
	}
	slices.SortFunc(call.Responses, func(a, b docsResponse) int { return strings.Compare(a.Status, b.Status) })
	return call
}
