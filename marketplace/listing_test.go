package marketplace_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/marketplace"
)

func content() marketplace.ListingContent {
	return marketplace.ListingContent{
		Title: "Greeter", Summary: "Greets people by name", Readme: "# Greeter\n\nIt greets.",
		Categories: []string{"text"}, Tags: []string{"greeting", "demo-1"},
		IconURL: "https://example.com/icon.png", SupportURL: "mailto:help@example.com",
		Samples: []marketplace.Sample{{Title: "Eva", Input: json.RawMessage(`{"name":"Eva"}`), Output: json.RawMessage(`"Hello Eva"`)}},
	}
}

var acme = marketplace.Organization{ID: "org_acme", Name: "acme"}

func listing(t *testing.T, visibility marketplace.Visibility) marketplace.Listing {
	t.Helper()
	l, err := marketplace.NewListing("agt_1", acme, "greeter", content(), visibility, now)
	require.NoError(t, err)
	return l
}

func words(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("word-%d", i))
	}
	return list
}

// jsonOf is a JSON text of so many bytes.
func jsonOf(bytes int) json.RawMessage {
	return json.RawMessage(`"` + strings.Repeat("x", bytes-2) + `"`)
}

func TestListingContentBounds(t *testing.T) {
	type c = marketplace.ListingContent
	sample := func(change func(*marketplace.Sample)) func(*c) {
		return func(l *c) { change(&l.Samples[0]) }
	}
	const path = "https://example.com/"
	for name, tc := range map[string]struct {
		change func(*c)
		wrong  []string // pointers
	}{
		"the example":                 {func(*c) {}, nil},
		"nothing but title, summary":  {func(l *c) { *l = c{Title: "a", Summary: "b"} }, nil},
		"empty":                       {func(l *c) { *l = c{} }, []string{"/title", "/summary"}},
		"longest title":               {func(l *c) { l.Title = strings.Repeat("ä", marketplace.MaxTitle) }, nil},
		"title too long":              {func(l *c) { l.Title = strings.Repeat("ä", marketplace.MaxTitle+1) }, []string{"/title"}},
		"title of two lines":          {func(l *c) { l.Title = "a\nb" }, []string{"/title"}},
		"longest summary":             {func(l *c) { l.Summary = strings.Repeat("ä", marketplace.MaxSummary) }, nil},
		"summary too long":            {func(l *c) { l.Summary = strings.Repeat("ä", marketplace.MaxSummary+1) }, []string{"/summary"}},
		"longest readme":              {func(l *c) { l.Readme = strings.Repeat("a", marketplace.MaxReadme) }, nil},
		"readme too long":             {func(l *c) { l.Readme = strings.Repeat("a", marketplace.MaxReadme+1) }, []string{"/readme"}},
		"readme that is no text":      {func(l *c) { l.Readme = "a\xff" }, []string{"/readme"}},
		"readme with NUL":             {func(l *c) { l.Readme = "a\x00b" }, []string{"/readme"}},
		"most categories":             {func(l *c) { l.Categories = words(marketplace.MaxCategories) }, nil},
		"too many categories":         {func(l *c) { l.Categories = words(marketplace.MaxCategories + 1) }, []string{"/categories"}},
		"a category that is no label": {func(l *c) { l.Categories = []string{"text", "Text"} }, []string{"/categories/1"}},
		"a category twice":            {func(l *c) { l.Categories = []string{"text", "text"} }, []string{"/categories/1"}},
		"most tags":                   {func(l *c) { l.Tags = words(marketplace.MaxTags) }, nil},
		"too many tags":               {func(l *c) { l.Tags = words(marketplace.MaxTags + 1) }, []string{"/tags"}},
		"an empty tag":                {func(l *c) { l.Tags = []string{""} }, []string{"/tags/0"}},
		"longest tag":                 {func(l *c) { l.Tags = []string{strings.Repeat("a", 40)} }, nil},
		"tag too long":                {func(l *c) { l.Tags = []string{strings.Repeat("a", 41)} }, []string{"/tags/0"}},
		"longest icon":                {func(l *c) { l.IconURL = path + strings.Repeat("a", marketplace.MaxURL-len(path)) }, nil},
		"icon too long":               {func(l *c) { l.IconURL = path + strings.Repeat("a", marketplace.MaxURL-len(path)+1) }, []string{"/icon_url"}},
		"icon by mail":                {func(l *c) { l.IconURL = "mailto:a@example.com" }, []string{"/icon_url"}},
		"support by web":              {func(l *c) { l.SupportURL = "https://example.com/help" }, nil},
		"most samples":                {func(l *c) { l.Samples = slices.Repeat(l.Samples, marketplace.MaxSamples) }, nil},
		"too many samples":            {func(l *c) { l.Samples = slices.Repeat(l.Samples, marketplace.MaxSamples+1) }, []string{"/samples"}},
		"sample without title":        {sample(func(s *marketplace.Sample) { s.Title = "" }), []string{"/samples/0/title"}},
		"longest sample title":        {sample(func(s *marketplace.Sample) { s.Title = strings.Repeat("ä", marketplace.MaxTitle) }), nil},
		"sample title too long":       {sample(func(s *marketplace.Sample) { s.Title = strings.Repeat("ä", marketplace.MaxTitle+1) }), []string{"/samples/0/title"}},
		"sample without input":        {sample(func(s *marketplace.Sample) { s.Input = nil }), []string{"/samples/0/input"}},
		"longest sample input":        {sample(func(s *marketplace.Sample) { s.Input = jsonOf(marketplace.MaxSampleBytes) }), nil},
		"sample input too long":       {sample(func(s *marketplace.Sample) { s.Input = jsonOf(marketplace.MaxSampleBytes + 1) }), []string{"/samples/0/input"}},
		"sample input of two values":  {sample(func(s *marketplace.Sample) { s.Input = json.RawMessage(`1 2`) }), []string{"/samples/0/input"}},
		"sample input that is no text": {
			sample(func(s *marketplace.Sample) { s.Input = json.RawMessage("\"\xff\"") }), []string{"/samples/0/input"},
		},
		"sample without output":  {sample(func(s *marketplace.Sample) { s.Output = nil }), nil},
		"longest sample output":  {sample(func(s *marketplace.Sample) { s.Output = jsonOf(marketplace.MaxSampleBytes) }), nil},
		"sample output too long": {sample(func(s *marketplace.Sample) { s.Output = jsonOf(marketplace.MaxSampleBytes + 1) }), []string{"/samples/0/output"}},
		"sample output no JSON":  {sample(func(s *marketplace.Sample) { s.Output = json.RawMessage(`{`) }), []string{"/samples/0/output"}},
		"everything at once": {
			func(l *c) { l.Title, l.Tags, l.IconURL, l.Samples[0].Input = "", []string{"A"}, "x", nil },
			[]string{"/title", "/tags/0", "/icon_url", "/samples/0/input"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := content()
			tc.change(&l)
			require.Equal(t, tc.wrong, pointers(t, l.Check()))
			_, err := marketplace.NewListing("agt_1", acme, "greeter", l, marketplace.VisibilityPublic, now)
			require.Equal(t, tc.wrong, pointers(t, err))
		})
	}
}

func TestListingLinks(t *testing.T) {
	for _, bad := range []string{
		"http://example.com/i.png", "javascript:alert(1)", "data:image/png;base64,AAAA", "//example.com/i.png", "/i.png", "https://",
		"https:///i.png", "https://:443/", "https:example.com", "https://user@example.com/", "https://user:pw@example.com/", "ftp://example.com",
		"https://exa mple.com", "https://example.com/\x00", "https://example.com/\xff", "https://example.com/\n", "mailto:", "mailto:?subject=x", " https://example.com",
	} {
		l := content()
		l.IconURL, l.SupportURL = bad, bad
		require.Equal(t, []string{"/icon_url", "/support_url"}, pointers(t, l.Check()), "%q", bad)
	}
	for _, good := range []string{"https://example.com", "https://münchen.example/ä?b=c#d", "https://192.0.2.1:8443/", "HTTPS://example.com"} {
		l := content()
		l.IconURL, l.SupportURL = good, good
		require.NoError(t, l.Check(), good)
	}
}

func TestNewListingIsADraft(t *testing.T) {
	for _, v := range marketplace.Visibilities() {
		l := listing(t, v)
		require.Equal(t, marketplace.ListingDraft, l.Status)
		require.False(t, l.Approved)
		require.Equal(t, "acme/greeter", l.FullName())
		require.Equal(t, marketplace.Listing{
			AgentID: "agt_1", OrgID: "org_acme", Publisher: "acme", Name: "greeter", Content: content(),
			Visibility: v, Status: marketplace.ListingDraft, CreatedAt: now, UpdatedAt: now,
		}, l)
	}
	_, err := marketplace.NewListing("agt_1", acme, "greeter", content(), "everybody", now)
	require.Equal(t, []string{"/visibility"}, pointers(t, err))
}

func TestComments(t *testing.T) {
	c, err := marketplace.NewComment("agt_1", "usr_1", "Please say\nwhat it does.", true, now)
	require.NoError(t, err)
	require.True(t, ids.Valid(ids.PrefixComment, string(c.ID)))
	require.True(t, c.Internal)
	_, err = marketplace.NewComment("agt_1", "usr_1", strings.Repeat("ä", marketplace.MaxComment), false, now)
	require.NoError(t, err)
	for _, bad := range []string{"", " \n", "a\x00", "a\xff", strings.Repeat("ä", marketplace.MaxComment+1)} {
		_, err := marketplace.NewComment("agt_1", "usr_1", bad, false, now)
		require.Equal(t, []string{"/comment"}, pointers(t, err))
	}
}
