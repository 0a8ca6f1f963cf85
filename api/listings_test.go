package api_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/api"
	"agentmarket/fault"
	"agentmarket/marketplace"
)

// TestPublishersStory: draft → submitted → rejected with a comment → edited →
// submitted again → approved → in the catalog.
func TestPublishersStory(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	_, buyer := f.organization("globex")
	f.publish("1.0.0")
	const path, desk = greeter + "/listing", "/v1/platform/listings/acme/greeter"

	created := f.send(http.MethodPut, path, listing(nil), "")
	draft := f.requireStatus(http.StatusCreated, created)
	require.Equal(t, path, created.header.Get("Location"))
	require.Equal(t, "draft", draft["status"])
	require.Equal(t, "1.0.0", draft["latest"])
	require.Equal(t, "free", draft["model"])
	require.Equal(t, []any{"runs for up to 300 s with 0.500 CPU, 128 MiB of memory and 64 MiB of disk"}, field(draft, "permissions", "words"))
	require.Empty(t, f.items(f.send(http.MethodGet, "/v1/catalog", "", buyer), "agent"))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, path, "", buyer))

	submitted := f.requireStatus(http.StatusOK, f.post(path+"/submit", `{"comment":"our first one"}`))
	require.Equal(t, "in_review", submitted["status"])
	require.Equal(t, "2026-11-22T12:00:00Z", submitted["submitted_at"])
	names := map[string]bool{}
	for _, check := range submitted["checks"].([]any) {
		names[field(check.(map[string]any), "name").(string)] = field(check.(map[string]any), "passed").(bool)
	}
	require.Equal(t, map[string]bool{"manifest": true, "schemas": true, "samples": true, "permissions": true, "image": true}, names)
	f.requireCode(http.StatusConflict, "listing_state", f.send(http.MethodPut, path, listing(nil), ""))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, path, "", buyer))

	require.Equal(t, []string{"acme/greeter"}, f.items(f.send(http.MethodGet, "/v1/platform/submissions", "", operator), "agent"))
	f.requireCode(http.StatusUnprocessableEntity, "request_invalid", f.send(http.MethodPost, desk+"/reject", `{}`, operator), "/comment")
	rejected := f.requireStatus(http.StatusOK, f.send(http.MethodPost, desk+"/reject",
		`{"comment":"the summary says too little","internal_comment":"looks like spam"}`, operator))
	require.Equal(t, "draft", field(rejected, "listing", "status"))
	require.Len(t, rejected["comments"], 3)
	require.Equal(t, []string{"the summary says too little", "our first one"}, f.items(f.get(path+"/comments"), "text"))
	older := f.get(path + "/comments?limit=1").json(t)["next_cursor"].(string)
	require.Equal(t, []string{"our first one"}, f.items(f.get(path+"/comments?limit=1&cursor="+older), "text"))
	require.NotContains(t, f.get(path+"/comments").text, "internal")
	require.Empty(t, f.items(f.send(http.MethodGet, "/v1/platform/submissions", "", operator), "agent"))
	f.requireCode(http.StatusConflict, "listing_state", f.send(http.MethodPost, desk+"/approve", "", operator))

	edited := f.requireStatus(http.StatusOK, f.send(http.MethodPut, path, listing(map[string]any{"summary": "Greets in seven languages."}), ""))
	require.Equal(t, "Greets in seven languages.", edited["summary"])
	f.requireStatus(http.StatusOK, f.post(path+"/submit", ""))
	f.requireStatus(http.StatusOK, f.post(path+"/withdraw", `{"comment":"one more thing"}`))
	answered := f.requireStatus(http.StatusCreated, f.post(path+"/comments", `{"comment":"now it is ready"}`))
	require.Equal(t, "now it is ready", answered["text"])
	f.requireStatus(http.StatusOK, f.post(path+"/submit", ""))
	approved := f.requireStatus(http.StatusOK, f.send(http.MethodPost, desk+"/approve", `{"comment":"welcome"}`, operator))
	require.Equal(t, "published", field(approved, "listing", "status"))

	require.Equal(t, []string{"acme/greeter"}, f.items(f.send(http.MethodGet, "/v1/catalog?q=seven+lang", "", buyer), "agent"))
	seen := f.requireStatus(http.StatusOK, f.send(http.MethodGet, path, "", buyer))
	require.Equal(t, "published", seen["status"])
	require.Equal(t, "# Greeter", seen["readme"])
	require.NotContains(t, seen, "checks", "what was checked is the publisher's business")
	require.NotContains(t, seen, "submitted_at")
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, path+"/comments", "", buyer))

	var actions []string
	for _, entry := range f.requireStatus(http.StatusOK, f.get("/v1/organizations/acme/audit-log"))["items"].([]any) {
		if action := field(entry.(map[string]any), "action").(string); strings.HasPrefix(action, "listing.") {
			actions = append([]string{action}, actions...)
		}
	}
	want := []string{"listing.create", "listing.submit", "listing.reject", "listing.edit", "listing.submit", "listing.withdraw",
		"listing.comment", "listing.submit", "listing.approve"}
	require.Empty(t, cmp.Diff(want, actions))
}

// TestListingIsShownWhole: what goes in comes out.
func TestListingIsShownWhole(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	got := f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	for name, value := range map[string]any{
		"agent": "acme/greeter", "title": "Greeter", "summary": "Greets whoever asks.", "readme": "# Greeter",
		"categories": []any{"office"}, "tags": []any{"text", "demo"}, "icon_url": "https://example.com/icon.png",
		"support_url": "mailto:help@example.com", "visibility": "public", "status": "draft", "runs": 0.0,
		"samples": []any{map[string]any{"title": "Hello", "input": map[string]any{"prompt": "hello"}, "output": "Hello!"}},
		"rating":  map[string]any{"count": 0.0}, "created_at": "2026-11-22T12:00:00Z", "updated_at": "2026-11-22T12:00:00Z",
		"urls": map[string]any{"self": greeter + "/listing", "agent": greeter, "reviews": greeter + "/reviews", "web": "http://web.test/agents/acme/greeter"},
	} {
		require.Equal(t, value, got[name], name)
	}
	require.NotContains(t, got, "latest", "a preview")
	require.NotContains(t, got, "permissions")
	require.Equal(t, got, f.requireStatus(http.StatusOK, f.get(greeter+"/listing")))
	plain := f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/listing",
		`{"title":"Greeter","summary":"Greets.","visibility":"private"}`, ""))
	require.Equal(t, []any{}, plain["categories"])
	require.NotContains(t, plain, "samples")
	own := f.requireStatus(http.StatusOK, f.get("/v1/listings"))
	require.Nil(t, own["next_cursor"])
	require.Len(t, own["items"], 1)
	item := own["items"].([]any)[0].(map[string]any)
	require.Equal(t, "draft", item["status"])
	require.NotContains(t, item, "readme")
}

func TestSelfPublishing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, func(s *api.Server) { s.Policy.ReviewListings, s.Images = false, nil })
	f.publish("1.0.0")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	got := f.requireStatus(http.StatusOK, f.post(greeter+"/listing/submit", ""))
	require.Equal(t, "published", got["status"])
	require.Equal(t, []string{"acme/greeter"}, f.items(f.get("/v1/catalog"), "agent"))
	messages := map[string]any{}
	for _, check := range got["checks"].([]any) {
		messages[field(check.(map[string]any), "name").(string)] = field(check.(map[string]any), "message")
	}
	require.Equal(t, "not checked: "+image, messages["image"], "no registry is configured")
}

func TestWithinTheOrganizationNobodyReviews(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.publish("1.0.0")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(map[string]any{"visibility": "organization"}), ""))
	got := f.requireStatus(http.StatusOK, f.post(greeter+"/listing/submit", ""))
	require.Equal(t, "published", got["status"])
	require.Equal(t, []string{"acme/greeter"}, f.items(f.get("/v1/catalog"), "agent"))
	require.Empty(t, f.items(f.send(http.MethodGet, "/v1/catalog", "", buyer), "agent"))
	f.requireCode(http.StatusNotFound, "agent_not_found", f.send(http.MethodGet, greeter, "", buyer))

	public := f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	require.Equal(t, "draft", public["status"], "what leaves the organization is reviewed")
}

func TestChecksOfASubmission(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1.0.0")
	samples := []any{
		map[string]any{"title": "Good", "input": map[string]any{"prompt": "x"}},
		map[string]any{"title": "Bad", "input": map[string]any{"prompt": 7}},
	}
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(map[string]any{"samples": samples}), ""))
	f.images.fail(image, fault.New(fault.Invalid, "image_not_found", "the image cannot be had"))
	got := f.post(greeter+"/listing/submit", "")
	f.requireCode(http.StatusUnprocessableEntity, "listing_checks_failed", got, "/samples/1", "")
	require.Contains(t, got.text, "samples: ")
	require.Contains(t, got.text, "image: the image cannot be had")
	require.Equal(t, "draft", f.get(greeter + "/listing").json(t)["status"])

	f.images.fail(image, fault.Wrap(fault.Unavailable, errors.New("dial 10.0.0.7"), "the registry does not answer"))
	f.requireStatus(http.StatusOK, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	down := f.post(greeter+"/listing/submit", "")
	f.requireCode(http.StatusServiceUnavailable, "unavailable", down)
	require.NotContains(t, down.text, "10.0.0.7")
	require.Equal(t, "draft", f.get(greeter + "/listing").json(t)["status"])

	f.images.fail(image, nil)
	f.requireStatus(http.StatusOK, f.post(greeter+"/listing/submit", ""))
	f.images.fail(image, errors.New("nobody is asked"))
	f.requireCode(http.StatusConflict, "listing_state", f.post(greeter+"/listing/submit", ""))
}

// meanwhile is a registry that takes the time for something else.
type meanwhile func()

func (m meanwhile) Resolve(context.Context, string) error {
	m()
	return nil
}

func TestSubmissionOfWhatWasEditedMeanwhile(t *testing.T) {
	t.Parallel()
	var edit func()
	f := newFixture(t, func(s *api.Server) { s.Images = meanwhile(func() { edit() }) })
	f.publish("1.0.0")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	agent, err := f.agents.AgentByName(t.Context(), "acme", "greeter")
	require.NoError(t, err)
	edit = func() { // by another request, in the time that the registry takes
		_, err = f.market.UpdateListing(t.Context(), setUp, agent.ID, "listing.edit", nil, func(l *marketplace.Listing) error {
			l.Content.Title = "Another"
			return l.Edit(l.Content, l.Visibility, true, now.Add(time.Second))
		})
	}
	f.requireCode(http.StatusConflict, "listing_state", f.post(greeter+"/listing/submit", ""))
	require.NoError(t, err)
	require.Equal(t, "draft", f.get(greeter + "/listing").json(t)["status"])
	edit = func() {}
	require.Equal(t, "in_review", f.requireStatus(http.StatusOK, f.post(greeter+"/listing/submit", ""))["status"])
}

func TestListingStates(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	_, buyer := f.organization("globex")
	f.publish("1.0.0")
	f.list("greeter", nil)
	const path, desk = greeter + "/listing", "/v1/platform/listings/acme/greeter"
	status := func(path, body, token string) string {
		got := f.requireStatus(http.StatusOK, f.send(http.MethodPost, path, body, token))
		if inner, ok := got["listing"].(map[string]any); ok {
			got = inner
		}
		return got["status"].(string)
	}
	found := func() []string { return f.items(f.send(http.MethodGet, "/v1/catalog", "", buyer), "agent") }

	require.Equal(t, "deprecated", status(path+"/deprecate", `{"notice":"use another one"}`, ""))
	require.Empty(t, found())
	require.Equal(t, "use another one", f.send(http.MethodGet, path, "", buyer).json(t)["notice"], "a link still leads there")
	require.Equal(t, "published", status(path+"/restore", "", ""))
	require.Equal(t, []string{"acme/greeter"}, found())
	require.NotContains(t, f.get(path).json(t), "notice")

	f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer))
	require.Equal(t, "suspended", status(desk+"/suspend", `{"notice":"it mines coins","internal_comment":"see ticket 7"}`, operator))
	require.Empty(t, found())
	suspended := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Equal(t, "it mines coins", field(suspended, "listing", "notice"))
	require.Equal(t, "listing_suspended", field(suspended, "entitlement", "code"))
	f.requireCode(http.StatusForbidden, "listing_suspended", f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer))
	f.requireStatus(http.StatusAccepted, f.post(greeter+"/runs", `{"input":{"prompt":"hello"}}`))
	require.Equal(t, "published", status(desk+"/reinstate", `{"comment":"all is well"}`, operator))
	require.Equal(t, []string{"acme/greeter"}, found())

	for _, wrong := range []struct{ path, body, token string }{
		{path + "/submit", "", ""}, {path + "/withdraw", "", ""}, {path + "/restore", "", ""},
		{desk + "/approve", "", operator}, {desk + "/reject", `{"comment":"no"}`, operator}, {desk + "/reinstate", "", operator},
	} {
		f.requireCode(http.StatusConflict, "listing_state", f.send(http.MethodPost, wrong.path, wrong.body, wrong.token))
	}
	whole := f.requireStatus(http.StatusOK, f.send(http.MethodGet, desk, "", operator))
	require.Len(t, whole["comments"], 2)
	require.Equal(t, true, field(whole["comments"].([]any)[1].(map[string]any), "internal"))
}

func TestOperatorsComment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(nil), ""))
	const desk = "/v1/platform/listings/acme/greeter"
	got := f.send(http.MethodPost, desk+"/comments", `{"comment":"whose is it?","internal":true}`, operator)
	require.Equal(t, true, f.requireStatus(http.StatusCreated, got)["internal"])
	require.Equal(t, desk, got.header.Get("Location"))
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, desk+"/comments", `{"comment":"Which languages?"}`, operator))
	require.Equal(t, []string{"Which languages?"}, f.items(f.get(greeter+"/listing/comments"), "text"))
	require.Equal(t, "draft", field(f.send(http.MethodGet, desk, "", operator).json(t), "listing", "status"))
}

func TestPreviewIsBoughtBeforeItRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, buyer := f.organization("globex")
	f.requireStatus(http.StatusCreated, f.send(http.MethodPut, greeter+"/listing", listing(map[string]any{"samples": nil}), ""))
	f.requireStatus(http.StatusCreated, f.post(greeter+"/prices", `{"model":"per_run","currency":"USD","per_run_micros":250000}`))
	f.newListing("greeter", nil)

	seen := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Empty(t, seen["latest"])
	require.Equal(t, "payment_required", field(seen, "entitlement", "code"))
	require.Equal(t, "/v1/orders", field(seen, "entitlement", "next"))
	f.requireCode(http.StatusPaymentRequired, "payment_required", f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer))
	f.requireStatus(http.StatusCreated, f.send(http.MethodPost, "/v1/orders", `{"agent":"acme/greeter"}`, buyer))
	bought := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Equal(t, "insufficient_funds", field(bought, "entitlement", "code"))
	require.Equal(t, "/v1/organizations/globex/top-ups", field(bought, "entitlement", "next"))
	f.credit("globex", 1)
	paid := f.requireStatus(http.StatusOK, f.send(http.MethodGet, greeter, "", buyer))
	require.Equal(t, map[string]any{"allowed": true, "source": "purchase"}, paid["entitlement"])
	f.requireCode(http.StatusNotFound, "version_not_found", f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer))

	f.publish("1.0.0")
	f.requireStatus(http.StatusAccepted, f.send(http.MethodPost, greeter+"/runs", `{"input":{"prompt":"hello"}}`, buyer))
}

func TestSubmissionsInPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	operator := f.operator()
	for _, name := range []string{"one", "two", "three"} {
		f.clock.advance(time.Second)
		f.requireStatus(http.StatusCreated, f.send(http.MethodPut, "/v1/agents/acme/"+name+"/listing", listing(map[string]any{"samples": nil}), ""))
		f.requireStatus(http.StatusOK, f.post("/v1/agents/acme/"+name+"/listing/submit", ""))
	}
	page := func(query string) answer {
		return f.send(http.MethodGet, "/v1/platform/submissions?limit=2"+query, "", operator)
	}
	first := page("")
	require.Equal(t, []string{"acme/one", "acme/two"}, f.items(first, "agent"))
	next := first.json(t)["next_cursor"].(string)
	f.requireStatus(http.StatusOK, f.send(http.MethodPost, "/v1/platform/listings/acme/two/approve", "", operator))
	require.Equal(t, []string{"acme/three"}, f.items(page("&cursor="+next), "agent"))
	nobody := base64.RawURLEncoding.EncodeToString([]byte("agt_01jd3m0f9zq4x8v5c7n2b6k1ta"))
	f.requireCode(http.StatusUnprocessableEntity, "cursor_invalid", page("&cursor="+nobody), "cursor")
}
