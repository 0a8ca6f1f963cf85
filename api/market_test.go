package api_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/infra"
)

// listing is the body of a listing; change replaces members, and removes those
// that are nil.
func listing(change map[string]any) string {
	return encoded(map[string]any{
		"title": "Greeter", "summary": "Greets whoever asks.", "readme": "# Greeter", "categories": []string{"office"},
		"tags": []string{"text", "demo"}, "icon_url": "https://example.com/icon.png", "support_url": "mailto:help@example.com",
		"samples": []any{map[string]any{"title": "Hello", "input": map[string]any{"prompt": "hello"}, "output": "Hello!"}}, "visibility": "public",
	}, change)
}

func encoded(base, change map[string]any) string {
	body := maps.Clone(base)
	for name, value := range change {
		body[name] = value
		if value == nil {
			delete(body, name)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// asking is the publication of a version of acme/greeter that asks for hosts.
func asking(version string, hosts ...string) string {
	text, err := json.Marshal(hosts)
	if err != nil {
		panic(err)
	}
	body := strings.Replace(publication(version), `"command"`, fmt.Sprintf(`"egress":%s,"command"`, text), 1)
	return body
}

const greeter = "/v1/agents/acme/greeter"

// list puts a listing of an agent of acme into the catalog, review included.
func (f *fixture) list(name string, change map[string]any) {
	f.t.Helper()
	path := "/v1/agents/acme/" + name + "/listing"
	got := f.send(http.MethodPut, path, listing(change), "")
	require.Contains(f.t, []int{http.StatusOK, http.StatusCreated}, got.status, got.text)
	if got.json(f.t)["status"] != "draft" {
		return // it was out before, and stays there
	}
	submitted := f.requireStatus(http.StatusOK, f.post(path+"/submit", ""))
	if submitted["status"] == "in_review" {
		f.requireStatus(http.StatusOK, f.send(http.MethodPost, "/v1/platform/listings/acme/"+name+"/approve", "", f.operator()))
	}
}

// newListing lists an agent without samples, which has no version.
func (f *fixture) newListing(name string, change map[string]any) {
	f.t.Helper()
	all := map[string]any{"samples": nil, "title": name}
	maps.Copy(all, change)
	f.list(name, all)
}

// credit pays into the wallet of an organization, in whole dollars.
func (f *fixture) credit(org string, dollars int) {
	f.t.Helper()
	body := fmt.Sprintf(`{"amount":{"amount_micros":%d,"currency":"USD"},"reason":"test"}`, dollars*1_000_000)
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/platform/organizations/"+org+"/credits", body, f.operator()))
}

// run runs a version of acme/greeter for somebody, from its start to its end.
func (f *fixture) run(version, token string) {
	f.t.Helper()
	body := f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs",
		fmt.Sprintf(`{"input":{"prompt":"hello"},"version":%q}`, version), token))
	id := ids.Run(body["id"].(string))
	f.begin(id, 1)
	f.endAttempt(id, 1, infra.ReasonOK, "")
	f.settle(id, "ok", `"Hello!"`)
}

// field is a member inside of an answer, by its path.
func field(body map[string]any, path ...string) any {
	var v any = body
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}
