package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// document is what the tests read of the OpenAPI document.
type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Security    *[]map[string][]string
		RequestBody *struct{ Content map[string]any }
		Responses   map[string]struct {
			Description string
			Headers     map[string]any
			Content     map[string]struct {
				Schema   map[string]any
				Examples map[string]any
			}
		}
	}
	Components struct {
		SecuritySchemes map[string]map[string]any
	}
}

func (f *fixture) spec() (document, string) {
	got := f.do(call{method: http.MethodGet, path: "/openapi.json", noToken: true})
	require.Equal(f.t, http.StatusOK, got.status)
	var d document
	require.NoError(f.t, json.Unmarshal([]byte(got.text), &d))
	return d, got.text
}

// TestOperations compares the calls of the API with a golden list. Identifiers
// are the names of methods in generated clients: none changes, none disappears.
func TestOperations(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d, _ := f.spec()
	var lines []string
	for path, methods := range d.Paths {
		for method, op := range methods {
			scope := "public"
			for _, requirement := range *op.Security {
				if scopes := requirement["api_key"]; len(scopes) > 0 {
					scope = strings.Join(scopes, " ")
				}
			}
			lines = append(lines, fmt.Sprintf("%-6s %-63s %-22s %s %s", strings.ToUpper(method), path, op.OperationID, scope,
				strings.Join(slices.Sorted(maps.Keys(op.Responses)), " ")))
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/operations.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
	}
	wanted, err := os.ReadFile(golden)
	require.NoError(t, err)
	if diff := cmp.Diff(string(wanted), got); diff != "" {
		t.Fatalf("the calls changed; if that is meant, run: go test ./api -run %s -update\n%s", t.Name(), diff)
	}
}

func TestSpecIsComplete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d, text := f.spec()
	require.Equal(t, "3.1.0", d.OpenAPI)
	require.Equal(t, "bearer", d.Components.SecuritySchemes["api_key"]["scheme"])

	var whole any
	require.NoError(t, json.Unmarshal([]byte(text), &whole))
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	require.NoError(t, compiler.AddResource("openapi.json", whole))
	references := 0
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				references++
				_, err := compiler.Compile("openapi.json" + ref)
				require.NoError(t, err, ref)
			}
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	walk(whole)
	require.NotZero(t, references)

	for path, methods := range d.Paths {
		for method, op := range methods {
			name := method + " " + path
			require.NotEmpty(t, op.Summary, name)
			for status, response := range op.Responses {
				require.NotEmpty(t, response.Description, name+" "+status)
				require.Contains(t, response.Headers, "X-Request-Id", name+" "+status)
				require.Equal(t, status != "204", len(response.Content) > 0, name+" "+status)
				if status < "400" {
					continue
				}
				problem := response.Content["application/problem+json"]
				require.Equal(t, "#/components/schemas/Problem", problem.Schema["$ref"], name+" "+status)
				require.NotEmpty(t, problem.Examples, name+" "+status)
			}
			if strings.HasPrefix(path, "/v1/") && len(*op.Security) > 0 {
				require.Contains(t, op.Responses, "401", name)
				require.Contains(t, op.Responses, "429", name)
			}
			if method == "post" {
				require.NotNil(t, op.RequestBody, name)
			}
		}
	}
}

// undocumented returns the code of a problem that the description of its call does
// not list; empty where all is well, and for what is no call: 404 and 405.
func (d document) undocumented(t *testing.T, method, path string, got answer) string {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	for template, methods := range d.Paths {
		op, ok := methods[strings.ToLower(method)]
		if !ok || !matches(template, path) {
			continue
		}
		code := got.json(t)["code"].(string)
		if _, listed := op.Responses[strconv.Itoa(got.status)].Content["application/problem+json"].Examples[code]; !listed {
			return fmt.Sprintf("%s lacks %d %s", op.OperationID, got.status, code)
		}
	}
	return ""
}

// matches reports whether a path is one of a template.
func matches(template, path string) bool {
	wanted, parts := strings.Split(template, "/"), strings.Split(path, "/")
	return slices.EqualFunc(wanted, parts, func(w, p string) bool { return w == p || strings.HasPrefix(w, "{") && p != "" })
}

func TestDocsNeedNobodyElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.do(call{method: http.MethodGet, path: "/docs", noToken: true})
	require.Equal(t, http.StatusOK, got.status)
	require.Contains(t, got.text, "start-run")
	require.Contains(t, got.text, "idempotency_key_reused")
	require.NotContains(t, got.text, "<script")
	require.NotContains(t, got.text, "http://")
	require.Contains(t, got.header.Get("Content-Security-Policy"), "default-src 'none'")
}
