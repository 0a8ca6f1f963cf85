package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReviews(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	_, other := f.organization("initech")
	f.publish("1.0.0")
	f.publish("1.1.0")
	f.list("greeter", nil)
	put := func(body, token string) answer { return f.send(http.MethodPut, greeter+"/reviews", body, token) }
	const good = `{"version":"1.0.0","rating":4,"title":"It greets","text":"In one language."}`

	f.requireCode(http.StatusForbidden, "review_needs_run", put(good, buyer))
	f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"},"version":"1.0.0"}`, buyer))
	f.requireCode(http.StatusForbidden, "review_needs_run", put(good, buyer)) // it has not started
	f.run("1.0.0", buyer)
	first := f.requireStatus(http.StatusOK, put(good, buyer))
	f.requireCode(http.StatusForbidden, "review_needs_run", put(strings.Replace(good, "1.0.0", "1.1.0", 1), buyer))
	again := f.requireStatus(http.StatusOK, put(strings.Replace(good, `"rating":4`, `"rating":2`, 1), buyer))
	require.Equal(t, first["id"], again["id"], "one for each organization and version")
	f.run("1.1.0", buyer)
	f.requireStatus(http.StatusOK, put(strings.Replace(good, "1.0.0", "1.1.0", 1), buyer))
	f.run("1.0.0", other)
	f.requireStatus(http.StatusOK, put(`{"version":"1.0.0","rating":5,"title":"Warm"}`, other))

	list := f.send(http.MethodGet, greeter+"/reviews", "", other)
	require.Equal(t, []string{"5", "4", "2"}, f.items(list, "rating"))
	require.Equal(t, []string{"1.0.0", "1.1.0", "1.0.0"}, f.items(list, "version"))
	require.Equal(t, []string{"true", "false", "false"}, f.items(list, "own"))
	require.NotContains(t, list.text, "globex")
	require.NotContains(t, list.text, "org_")
	next := f.send(http.MethodGet, greeter+"/reviews?limit=2", "", other).json(t)["next_cursor"].(string)
	require.Equal(t, []string{"2"}, f.items(f.send(http.MethodGet, greeter+"/reviews?limit=2&cursor="+next, "", other), "rating"))
	rating := func() any { return field(f.get(greeter).json(t), "listing", "rating") }
	require.Equal(t, map[string]any{"count": 3.0, "mean": 3.67}, rating())

	remove := func(id, token string) answer { return f.send(http.MethodDelete, greeter+"/reviews/"+id, "", token) }
	f.requireCode(http.StatusNotFound, "review_not_found", remove(first["id"].(string), other))
	f.requireCode(http.StatusNotFound, "review_not_found", remove("rev_1", buyer))
	require.Equal(t, http.StatusNoContent, remove(first["id"].(string), buyer).status)
	f.requireCode(http.StatusNotFound, "review_not_found", remove(first["id"].(string), buyer))
	require.Equal(t, map[string]any{"count": 2.0, "mean": 4.5}, rating())

	byOperator := func() answer {
		return f.send(http.MethodDelete, "/v1/platform/reviews/"+f.items(f.get(greeter+"/reviews"), "id")[0], "", f.operator())
	}
	require.Equal(t, http.StatusNoContent, byOperator().status)
	require.Equal(t, map[string]any{"count": 1.0, "mean": 4.0}, rating())
	f.requireCode(http.StatusNotFound, "review_not_found", f.send(http.MethodDelete, "/v1/platform/reviews/rev_1", "", f.operator()))
	log := f.send(http.MethodGet, "/v1/organizations/initech/audit-log?action=review.delete", "", other)
	require.Len(t, f.items(log, "id"), 1, "who wrote it finds it in the audit log")
}

func TestBadReviews(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.publish("1.0.0")
	f.list("greeter", nil)
	f.run("1.0.0", buyer)
	long := strings.Repeat("x", 4001)
	for body, pointers := range map[string][]string{
		`{}`:                                   {"/rating", "/title", "/version"},
		`{"version":"","rating":0,"title":""}`: {"/rating", "/title", "/version", "/version"},
		`{"version":"stable","rating":6,"title":"` + long[:81] + `"}`:          {"/rating", "/title", "/version"},
		`{"version":"1.0.0","rating":1.5,"title":"x"}`:                         {"/rating"},
		`{"version":"1.0.0","rating":1,"title":"a\nb"}`:                        {"/title"},
		`{"version":"1.0.0","rating":1,"title":"x","text":"` + long + `"}`:     {"/text"},
		`{"version":"1.0.0","rating":1,"title":"x","text":" "}`:                {"/text"},
		`{"version":"1.0.0","rating":1,"title":"x","own":true}`:                {"/own"},
		`{"version":"` + strings.Repeat("1", 65) + `","rating":1,"title":"x"}`: {"/version"},
	} {
		f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPut, greeter+"/reviews", body, buyer), pointers...)
	}
	const good = `{"version":"1.0.0","rating":4,"title":"It greets"}`
	f.requireCode(http.StatusNotFound, "version_not_found", f.send(http.MethodPut, greeter+"/reviews", strings.Replace(good, "1.0.0", "7.0.0", 1), buyer))
	f.run("1.0.0", "")
	f.requireCode(http.StatusForbidden, "review_own_agent", f.send(http.MethodPut, greeter+"/reviews", good, ""))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodPut, "/v1/agents/acme/nobody/reviews", good, buyer))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", f.get(greeter+"/reviews?cursor=x"), "cursor")
	require.Empty(t, f.items(f.get(greeter+"/reviews"), "id"))
}
