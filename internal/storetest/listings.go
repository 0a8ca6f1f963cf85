package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/audit"
	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// fullContent uses every field of a listing, with texts that databases like to
// change.
func fullContent() marketplace.ListingContent {
	return marketplace.ListingContent{
		Title: "Invoice reader", Summary: `Reads "invoices" and 100% of receipts; it's fast`, Readme: "# Über\n\n\tIt's <b>bold</b> — 東京 \\ % _",
		Categories: []string{"finance", "documents"}, Tags: []string{"ocr", "pdf-1-7"},
		IconURL: "https://example.com/icon.png?a=1&b=2", SupportURL: "mailto:help@example.com",
		Samples: []marketplace.Sample{
			// The order of the keys, and the form of numbers, are the publisher's.
			{Title: "One", Input: json.RawMessage(`{"z": 1.0, "a":  {"b":[1e3, null]}}`), Output: json.RawMessage(`"ü\u00fc"`)},
			{Title: "Two", Input: json.RawMessage(`[]`)},
		},
	}
}

// aListing is a draft for an agent, as it would come back.
func aListing(t *testing.T, org marketplace.Organization, agent product.Agent, content marketplace.ListingContent) marketplace.Listing {
	t.Helper()
	l, err := marketplace.NewListing(agent.ID, org, agent.Name, content, marketplace.VisibilityPublic, start)
	require.NoError(t, err)
	l.CreatedAt, l.UpdatedAt = stored(l.CreatedAt), stored(l.UpdatedAt)
	l.Latest, l.Model = agent.Latest, marketplace.ModelFree
	return l
}

func createListing(t *testing.T, s Stores, l marketplace.Listing) marketplace.Listing {
	t.Helper()
	require.NoError(t, s.Marketplace.CreateListing(t.Context(), actor, l))
	return l
}

func changeListing(t *testing.T, s Stores, agent ids.Agent, change func(*marketplace.Listing) error) marketplace.Listing {
	t.Helper()
	updated, err := s.Marketplace.UpdateListing(t.Context(), actor, agent, "listing.change", nil, change)
	require.NoError(t, err)
	loaded, err := s.Marketplace.Listing(t.Context(), agent)
	require.NoError(t, err)
	requireSame(t, loaded, updated)
	return updated
}

func submit(at time.Time) func(*marketplace.Listing) error {
	return func(l *marketplace.Listing) error { return l.Submit(nil, true, at) }
}

func listingNames(list []marketplace.Listing) []string {
	names := []string{}
	for _, l := range list {
		names = append(names, l.Name)
	}
	return names
}

var listingTests = []testCase{
	{"what is created is found as it was", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.2.0", start)
		l := aListing(t, org, agent, fullContent())
		l.Notice, l.Approved = "gone soon", true
		l.Checks = []marketplace.Check{{Name: "manifest", Passed: true, Message: "fine", Pointer: "/x", Details: []string{"a", "b"}}, {Name: "image"}}
		createListing(t, s, l)
		got, err := s.Marketplace.Listing(t.Context(), agent.ID)
		require.NoError(t, err)
		requireSame(t, l, got)
	}},
	{"an agent is listed before it has a version", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, err := s.Names.EnsureAgent(t.Context(), actor, product.Agent{
			ID: ids.New[ids.Agent](ids.PrefixAgent), OrgID: org.ID, Publisher: org.Name, Name: "preview", CreatedAt: start, UpdatedAt: start,
		})
		require.NoError(t, err)
		createListing(t, s, aListing(t, org, agent, fullContent()))
		got, err := s.Marketplace.Listing(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Empty(t, got.Latest)
		publish(t, s, org, "preview", "0.1.0", start)
		got, err = s.Marketplace.Listing(t.Context(), agent.ID)
		require.NoError(t, err)
		require.Equal(t, "0.1.0", got.Latest)
	}},
	{"an agent has one listing, and must exist", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		l := createListing(t, s, aListing(t, org, agent, fullContent()))
		requireFault(t, s.Marketplace.CreateListing(t.Context(), actor, l), fault.Conflict, "listing_exists")
		l.AgentID = "agt_none"
		requireFault(t, s.Marketplace.CreateListing(t.Context(), actor, l), fault.NotFound, "")
		_, err := s.Marketplace.Listing(t.Context(), "agt_none")
		requireFault(t, err, fault.NotFound, "listing_not_found")
		_, err = s.Marketplace.UpdateListing(t.Context(), actor, "agt_none", "x", nil, func(*marketplace.Listing) error { return nil })
		requireFault(t, err, fault.NotFound, "listing_not_found")
	}},
	{"a change comes with its comment and its entry in the audit log", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		l := createListing(t, s, aListing(t, org, agent, fullContent()))
		comment, err := marketplace.NewComment(agent.ID, "usr_operator", "too short\nplease extend", true, start)
		require.NoError(t, err)
		said := []marketplace.Comment{comment}
		updated, err := s.Marketplace.UpdateListing(t.Context(), actor, agent.ID, "listing.edit", said, func(l *marketplace.Listing) error {
			content := l.Content
			content.Title = "Another title"
			return l.Edit(content, marketplace.VisibilityPrivate, true, after(time.Hour))
		})
		require.NoError(t, err)
		l.Content.Title, l.Visibility, l.UpdatedAt = "Another title", marketplace.VisibilityPrivate, stored(after(time.Hour))
		requireSame(t, l, updated)

		comments, err := s.Marketplace.Comments(t.Context(), agent.ID, true, "", 0)
		require.NoError(t, err)
		comment.At = stored(comment.At)
		requireSame(t, []marketplace.Comment{comment}, comments)

		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{Subject: string(agent.ID)})
		require.NoError(t, err)
		entry := entryOf(t, entries, "listing.edit")
		require.Equal(t, actor, entry.Actor)
		require.Contains(t, string(entry.Before), "Invoice reader")
		require.Contains(t, string(entry.After), "Another title")
		require.NotContains(t, string(entry.After), "too short", "comments may be internal")
		require.Nil(t, entryOf(t, entries, "listing.create").Before)
	}},
	{"a change that is refused leaves nothing", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		l := createListing(t, s, aListing(t, org, agent, fullContent()))
		comment, err := marketplace.NewComment(agent.ID, "usr_operator", "no", false, start)
		require.NoError(t, err)
		said := []marketplace.Comment{comment}
		refusal := errors.New("not today")
		_, err = s.Marketplace.UpdateListing(t.Context(), actor, agent.ID, "listing.edit", said, func(l *marketplace.Listing) error {
			l.Notice = "changed"
			return refusal
		})
		require.Equal(t, refusal, err)
		got, err := s.Marketplace.Listing(t.Context(), agent.ID)
		require.NoError(t, err)
		requireSame(t, l, got)
		comments, err := s.Marketplace.Comments(t.Context(), agent.ID, true, "", 0)
		require.NoError(t, err)
		require.Empty(t, comments)
		// A change of nothing is none.
		changeListing(t, s, agent.ID, func(*marketplace.Listing) error { return nil })
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{Subject: string(agent.ID), Action: "listing.change"})
		require.NoError(t, err)
		require.Empty(t, entries)
	}},
	{"what is derived and whose it is cannot be changed", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		l := createListing(t, s, aListing(t, org, agent, fullContent()))
		got := changeListing(t, s, agent.ID, func(l *marketplace.Listing) error {
			l.AgentID, l.OrgID, l.Publisher, l.Name, l.CreatedAt = "agt_x", "org_x", "x", "x", after(time.Hour)
			l.Latest, l.Model, l.Runs, l.Ratings, l.Stars = "9.9.9", marketplace.ModelPerRun, 1, 2, 3
			l.Notice = "changed"
			return nil
		})
		l.Notice = "changed"
		requireSame(t, l, got)
	}},
	{"changes at once are all made", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		createListing(t, s, aListing(t, org, agent, fullContent()))
		var failed atomic.Int32
		together(20, func(i int) {
			_, err := s.Marketplace.UpdateListing(t.Context(), actor, agent.ID, "listing.change", nil, func(l *marketplace.Listing) error {
				l.Content.Readme += fmt.Sprintf(" word%02d", i)
				l.Status = marketplace.ListingPublished
				return nil
			})
			if err != nil {
				failed.Add(1)
			}
		})
		require.Zero(t, failed.Load())
		got, err := s.Marketplace.Listing(t.Context(), agent.ID)
		require.NoError(t, err)
		for i := range 20 {
			require.Equal(t, 1, strings.Count(got.Content.Readme, fmt.Sprintf("word%02d", i)))
		}
	}},
	{"the model is that of the price in effect", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		setPrice(t, s, aPrice(agent, 5, start))
		createListing(t, s, aListing(t, org, agent, fullContent()))
		model := func() marketplace.Model {
			got, err := s.Marketplace.Listing(t.Context(), agent.ID)
			require.NoError(t, err)
			return got.Model
		}
		require.Equal(t, marketplace.ModelPerRun, model(), "at its creation")
		changeListing(t, s, agent.ID, submit(start))
		changeListing(t, s, agent.ID, func(l *marketplace.Listing) error { return l.Approve(start) })

		next := aPrice(agent, 0, after(time.Hour))
		next.Model, next.PerRun, next.PerSecond, next.CreatedAt = marketplace.ModelPerSecond, 0, 7, after(time.Hour)
		setPrice(t, s, next)
		require.Equal(t, marketplace.ModelPerSecond, model(), "with a price that takes effect at once")
		page, err := s.Marketplace.Search(t.Context(), marketplace.Viewer{}, marketplace.CatalogQuery{Model: marketplace.ModelPerSecond}, start)
		require.NoError(t, err)
		require.Equal(t, []string{"reader"}, listingNames(page.Listings))
		page, err = s.Marketplace.Search(t.Context(), marketplace.Viewer{}, marketplace.CatalogQuery{Model: marketplace.ModelPerRun}, start)
		require.NoError(t, err)
		require.Empty(t, page.Listings)
	}},
	{"a publisher's listings are listed in every state, by pages", func(t *testing.T, s Stores) {
		org, other := anOrganization(t, s, "acme"), anOrganization(t, s, "other")
		for i, name := range []string{"one", "two", "three", "four", "five"} {
			agent, _ := publish(t, s, org, name, "1.0.0", start)
			createListing(t, s, aListing(t, org, agent, fullContent()))
			if i%2 == 0 {
				changeListing(t, s, agent.ID, submit(start))
			}
		}
		agent, _ := publish(t, s, other, "stranger", "1.0.0", start)
		createListing(t, s, aListing(t, other, agent, fullContent()))
		var got []string
		var before ids.Agent
		for {
			page, err := s.Marketplace.ListingsOf(t.Context(), org.ID, before, 2)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			got, before = append(got, listingNames(page)...), page[len(page)-1].AgentID
		}
		require.Equal(t, []string{"five", "four", "three", "two", "one"}, got)
		all, err := s.Marketplace.ListingsOf(t.Context(), org.ID, "", 0)
		require.NoError(t, err)
		require.Len(t, all, 5)
	}},
	{"submissions are listed as they came, while others are decided about", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agents := map[string]ids.Agent{}
		for name, minute := range map[string]int{"first": 1, "second": 2, "third": 3, "fourth": 4, "draft": -1} {
			agent, _ := publish(t, s, org, name, "1.0.0", start)
			createListing(t, s, aListing(t, org, agent, fullContent()))
			agents[name] = agent.ID
			if minute > 0 {
				changeListing(t, s, agent.ID, submit(after(time.Duration(minute)*time.Minute)))
			}
		}
		page, err := s.Marketplace.Submissions(t.Context(), "", 2)
		require.NoError(t, err)
		require.Equal(t, []string{"first", "second"}, listingNames(page))
		changeListing(t, s, agents["second"], func(l *marketplace.Listing) error { return l.Approve(after(time.Hour)) })
		page, err = s.Marketplace.Submissions(t.Context(), agents["second"], 2)
		require.NoError(t, err)
		require.Equal(t, []string{"third", "fourth"}, listingNames(page))
		page, err = s.Marketplace.Submissions(t.Context(), agents["fourth"], 2)
		require.NoError(t, err)
		require.Empty(t, page)
		_, err = s.Marketplace.Submissions(t.Context(), "agt_none", 2)
		requireFault(t, err, fault.NotFound, "listing_not_found")
		page, err = s.Marketplace.Submissions(t.Context(), "", 0)
		require.NoError(t, err)
		require.Equal(t, []string{"first", "third", "fourth"}, listingNames(page))
	}},
	{"comments are listed as they came, the internal ones when asked for", func(t *testing.T, s Stores) {
		org := anOrganization(t, s, "acme")
		agent, _ := publish(t, s, org, "reader", "1.0.0", start)
		createListing(t, s, aListing(t, org, agent, fullContent()))
		for i, text := range []string{"one", "two", "three"} {
			comment, err := marketplace.NewComment(agent.ID, "usr_operator", text, i == 1, start)
			require.NoError(t, err)
			_, err = s.Marketplace.UpdateListing(t.Context(), actor, agent.ID, "listing.comment", []marketplace.Comment{comment},
				func(*marketplace.Listing) error { return nil })
			require.NoError(t, err)
		}
		for internal, want := range map[bool][]string{true: {"three", "two", "one"}, false: {"three", "one"}} {
			comments, err := s.Marketplace.Comments(t.Context(), agent.ID, internal, "", 0)
			require.NoError(t, err)
			var got []string
			for _, c := range comments {
				got = append(got, c.Text)
			}
			require.Equal(t, want, got)
		}
		entries, err := s.Marketplace.Audit(t.Context(), org.ID, audit.Query{Action: "listing.comment"})
		require.NoError(t, err)
		require.Len(t, entries, 3)
	}},
	{"what was never used has no average and nothing to fold", func(t *testing.T, s Stores) {
		average, err := s.Marketplace.AverageRun(t.Context(), "agt_none")
		require.NoError(t, err)
		require.Zero(t, average)
		folded, err := s.Marketplace.FoldUsage(t.Context(), 10)
		require.NoError(t, err)
		require.Zero(t, folded)
	}},
}

func entryOf(t *testing.T, entries []audit.Entry, action string) audit.Entry {
	t.Helper()
	for _, e := range entries {
		if e.Action == action {
			return e
		}
	}
	t.Fatalf("there is no entry %s among %d", action, len(entries))
	return audit.Entry{}
}
