package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListingsOfOthersDoNotExist(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, stranger := f.organization("stranger")
	f.publish("1.0.0")
	f.list("greeter", nil) // even one that everybody sees is changed by its publisher only
	const grant = `{"organization":"stranger","access":"run"}`
	for _, c := range []call{
		{method: http.MethodPut, path: greeter + "/listing", body: listing(nil)},
		{method: http.MethodPost, path: greeter + "/listing/submit"},
		{method: http.MethodPost, path: greeter + "/listing/withdraw"},
		{method: http.MethodPost, path: greeter + "/listing/deprecate"},
		{method: http.MethodPost, path: greeter + "/listing/restore"},
		{method: http.MethodGet, path: greeter + "/listing/comments"},
		{method: http.MethodPost, path: greeter + "/listing/comments", body: `{"comment":"hello"}`},
		{method: http.MethodGet, path: greeter + "/grants"},
		{method: http.MethodPost, path: greeter + "/grants", body: grant},
		{method: http.MethodDelete, path: greeter + "/grants/gra_01jd3m0f9zq4x8v5c7n2b6k1ta"},
		{method: http.MethodPut, path: greeter + "/channels/beta", body: `{"version":"1.0.0"}`},
		{method: http.MethodDelete, path: greeter + "/channels/beta"},
	} {
		c.token = stranger
		f.requireCode(http.StatusNotFound, "agent_not_found", f.do(c))
	}
	require.Empty(t, f.items(f.send(http.MethodGet, "/v1/listings", "", stranger), "agent"))
	f.requireCode(http.StatusForbidden, "role_missing", f.get("/v1/platform/submissions"))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", strings.Replace(publication("1.0.0"), `"greeter"`, `"unlisted"`, 1)))
	f.requireCode(http.StatusNotFound, "listing_not_found", f.get("/v1/agents/acme/unlisted/listing"))
	f.requireCode(http.StatusNotFound, "listing_not_found", f.post("/v1/agents/acme/unlisted/listing/submit", ""))
}

func TestBadListings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	many := func(n int) (labels []string) {
		for i := range n {
			labels = append(labels, "label-"+string(rune('a'+i)))
		}
		return labels
	}
	sample := func(change map[string]any) []any {
		one := map[string]any{"title": "One", "input": 1}
		return []any{one, json.RawMessage(encoded(one, change))}
	}
	for name, tc := range map[string]struct {
		change   map[string]any
		pointers []string
	}{
		"nothing":            {map[string]any{"title": nil, "summary": nil, "visibility": nil}, []string{"/summary", "/title", "/visibility"}},
		"empty":              {map[string]any{"title": "", "summary": ""}, []string{"/summary", "/title"}},
		"too long":           {map[string]any{"title": long(81), "summary": long(201)}, []string{"/summary", "/title"}},
		"several lines":      {map[string]any{"title": "a\nb", "summary": "a\u2028b"}, []string{"/title", "/summary"}},
		"invisible":          {map[string]any{"title": "\u200b"}, []string{"/title"}},
		"NUL":                {map[string]any{"readme": "a\x00b"}, []string{"/readme"}},
		"readme":             {map[string]any{"readme": long(65537)}, []string{"/readme"}},
		"readme in bytes":    {map[string]any{"readme": strings.Repeat("ä", 32769)}, []string{"/readme"}},
		"categories":         {map[string]any{"categories": many(6)}, []string{"/categories"}},
		"tags":               {map[string]any{"tags": many(11)}, []string{"/tags"}},
		"labels":             {map[string]any{"categories": []string{"Office"}, "tags": []string{"a", "-b", long(41)}}, []string{"/categories/0", "/tags/1", "/tags/2"}},
		"labels twice":       {map[string]any{"categories": []string{"a", "a"}, "tags": []string{"b", "b"}}, []string{"/categories/1", "/tags/1"}},
		"addresses":          {map[string]any{"icon_url": "http://example.com/x.png", "support_url": "javascript:alert(1)"}, []string{"/icon_url", "/support_url"}},
		"long addresses":     {map[string]any{"icon_url": "https://example.com/" + long(2048), "support_url": "https://example.com/" + long(2048)}, []string{"/icon_url", "/support_url"}},
		"credentials":        {map[string]any{"support_url": "https://user:secret@example.com"}, []string{"/support_url"}},
		"visibility":         {map[string]any{"visibility": "secret"}, []string{"/visibility"}},
		"unknown":            {map[string]any{"price": 1}, []string{"/price"}},
		"types":              {map[string]any{"title": 1, "categories": "a", "samples": map[string]any{}}, []string{"/categories", "/samples", "/title"}},
		"too many samples":   {map[string]any{"samples": make([]map[string]any, 6)}, nil},
		"sample incomplete":  {map[string]any{"samples": sample(map[string]any{"title": nil, "input": nil})}, []string{"/samples/1/input", "/samples/1/title"}},
		"sample's title":     {map[string]any{"samples": sample(map[string]any{"title": long(81)})}, []string{"/samples/1/title"}},
		"sample's lines":     {map[string]any{"samples": sample(map[string]any{"title": "a\tb"})}, []string{"/samples/1/title"}},
		"sample's input":     {map[string]any{"samples": sample(map[string]any{"input": long(16383)})}, []string{"/samples/1/input"}},
		"sample's output":    {map[string]any{"samples": sample(map[string]any{"output": long(16383)})}, []string{"/samples/1/output"}},
		"sample's more":      {map[string]any{"samples": sample(map[string]any{"hint": "x"})}, []string{"/samples/1/hint"}},
		"everything at once": {map[string]any{"title": "a\nb", "icon_url": "x", "samples": sample(map[string]any{"output": long(16383)})}, []string{"/title", "/icon_url", "/samples/1/output"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.send(http.MethodPut, greeter+"/listing", listing(tc.change), "")
			if tc.pointers == nil { // six empty samples are wrong in many places
				require.Equal(t, "request_invalid", got.json(t)["code"], got.text)
				require.Contains(t, got.text, `"pointer":"/samples"`)
				return
			}
			f.requireCode(http.StatusUnprocessableEntity, "request_invalid", got, tc.pointers...)
		})
	}
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, "/v1/agents/acme/Bad_Name/listing", listing(nil), ""), "name")
	f.requireCode(http.StatusNotFound, "agent_not_found", f.get(greeter)) // nothing came of all these
	largest := map[string]any{"title": long(80), "summary": long(200), "readme": long(65536), "categories": many(5), "tags": many(10)}
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(largest), ""))
}

func TestBadStepsOfListings(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	const desk = "/v1/platform/listings/acme/greeter"
	long := strings.Repeat("x", 4001)
	for _, tc := range []struct {
		path, body, token string
		pointers          []string
	}{
		{greeter + "/listing/submit", `{"comment":""}`, "", []string{"/comment"}},
		{greeter + "/listing/submit", `{"comment":" "}`, "", []string{"/comment"}},
		{greeter + "/listing/withdraw", `{"comment":"` + long + `"}`, "", []string{"/comment"}},
		{greeter + "/listing/deprecate", `{"notice":"` + long[:501] + `"}`, "", []string{"/notice"}},
		{greeter + "/listing/restore", `{"notice":"x"}`, "", []string{"/notice"}},
		{greeter + "/listing/comments", `{"comment":"` + long + `"}`, "", []string{"/comment"}},
		{greeter + "/listing/comments", `{"comment":"\t"}`, "", []string{"/comment"}},
		{greeter + "/listing/comments", `{"comment":"x","internal":true}`, "", []string{"/internal"}},
		{desk + "/comments", `{}`, operator, []string{"/comment"}},
		{desk + "/approve", `{"comment":"","internal_comment":"` + long + `"}`, operator, []string{"/comment", "/internal_comment"}},
		{desk + "/reject", `{"comment":"x","internal_comment":"  "}`, operator, []string{"/internal_comment"}},
		{desk + "/suspend", `{"comment":"x"}`, operator, []string{"/notice"}},
		{desk + "/suspend", `{"notice":"` + long[:501] + `"}`, operator, []string{"/notice"}},
		{desk + "/suspend", `{"notice":" "}`, operator, []string{"/notice"}},
		{desk + "/reinstate", `{"notice":"x"}`, operator, []string{"/notice"}},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, tc.path, tc.body, tc.token), tc.pointers...)
	}
	require.Empty(t, f.items(f.get(greeter+"/listing/comments"), "text"))
	f.requireStatus(http.StatusCreated, f.post("/v1/agents", strings.Replace(publication("1.0.0"), `"greeter"`, `"unlisted"`, 1)))
	f.requireCode(http.StatusNotFound, "listing_not_found", f.send(http.MethodGet, "/v1/platform/listings/acme/unlisted", "", operator))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, "/v1/platform/listings/acme/nobody", "", operator))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get("/v1/listings?cursor=x"), "cursor")
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(greeter+"/listing/comments?cursor=x"), "cursor")
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.get("/v1/listings?limit=201"), "limit")
}
