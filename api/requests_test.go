package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

type answer struct {
	status int
	header http.Header
	text   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.text), &v), a.text)
	return v
}

// call is a request in a test. The zero values: no body, the key of acme.
type call struct {
	method, path, body string
	header             map[string]string
	token              string
	noToken            bool
}

func (f *fixture) request(ctx context.Context, c call) *http.Request {
	f.t.Helper()
	r, err := http.NewRequestWithContext(ctx, c.method, f.http.URL+c.path, strings.NewReader(c.body))
	require.NoError(f.t, err)
	if c.token == "" {
		c.token = f.token
	}
	if !c.noToken {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	return r
}

func (f *fixture) do(c call) answer {
	f.t.Helper()
	response, err := http.DefaultClient.Do(f.request(f.t.Context(), c))
	require.NoError(f.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(f.t, err)
	got := answer{response.StatusCode, response.Header, string(body)}
	if got.header.Get("Content-Type") == "application/problem+json" {
		require.Empty(f.t, f.description().undocumented(f.t, c.method, c.path, got), "add it to the problems of the route")
	}
	return got
}

// described is the OpenAPI document, which is the same for all servers.
var described struct {
	once     sync.Once
	document document
}

func (f *fixture) description() document {
	described.once.Do(func() { described.document, _ = f.spec() })
	return described.document
}

func (f *fixture) get(path string) answer { return f.do(call{method: http.MethodGet, path: path}) }

func (f *fixture) post(path, body string, header ...string) answer {
	c := call{method: http.MethodPost, path: path, body: body, header: map[string]string{}}
	for i := 0; i+1 < len(header); i += 2 {
		c.header[header[i]] = header[i+1]
	}
	return f.do(c)
}

// send makes a request as somebody; an empty token is that of acme.
func (f *fixture) send(method, path, body, token string) answer {
	f.t.Helper()
	return f.do(call{method: method, path: path, body: body, token: token})
}

// requireStatus returns the body of an answer that must have this status.
func (f *fixture) requireStatus(status int, got answer) map[string]any {
	f.t.Helper()
	require.Equal(f.t, status, got.status, got.text)
	if got.text == "" {
		return nil
	}
	return got.json(f.t)
}

// requireCode checks that an answer is a problem with this code, and that its
// errors are at these places.
func (f *fixture) requireCode(status int, code string, got answer, pointers ...string) {
	f.t.Helper()
	require.Equal(f.t, status, got.status, got.text)
	require.Equal(f.t, code, got.json(f.t)["code"], got.text)
	var found []string
	errs, _ := got.json(f.t)["errors"].([]any)
	for _, e := range errs {
		found = append(found, e.(map[string]any)["pointer"].(string))
	}
	require.Equal(f.t, pointers, found, got.text)
}

// items are the values of a member of each item of a list.
func (f *fixture) items(got answer, member string) []string {
	f.t.Helper()
	list := []string{}
	for _, item := range f.requireStatus(http.StatusOK, got)["items"].([]any) {
		list = append(list, fmt.Sprint(item.(map[string]any)[member]))
	}
	return list
}
