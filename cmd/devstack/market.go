package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
)

// offer is how an example agent is offered.
type offer struct {
	title      string
	visibility string
	categories []string
	price      map[string]any // nil: free
	grantTo    string         // an organization that sees a private agent
}

// offers show the three visibilities and three ways to pay.
var offers = map[string]offer{
	"hello": {title: "Hello", visibility: "public", categories: []string{"examples"}},
	"summarize": {
		title: "Summarize", visibility: "public", categories: []string{"text"},
		price: map[string]any{"model": "per_run", "currency": "USD", "per_run_micros": 250_000, "failed_runs": "free"},
	},
	"wordcount": {
		title: "Word count", visibility: "private", categories: []string{"text"}, grantTo: buyerOrg,
		price: map[string]any{"model": "per_second", "currency": "USD", "per_second_micros": 1_000, "trial": map[string]any{"runs": 3}},
	},
}

// offer lists an agent, prices it, submits it, and lets the operator approve it.
// What an earlier start of the stack has done stays as it is.
func (t tour) offer(ctx context.Context, agent string) error {
	path := "/v1/agents/" + examplesOrg + "/" + agent
	var listing struct {
		Status string `json:"status"`
	}
	err := t.call(ctx, http.MethodGet, path+"/listing", nil, nil, &listing)
	if err == nil && listing.Status == "published" {
		return nil
	}
	o := offers[agent]
	content, err := t.listing(agent, o)
	if err != nil {
		return err
	}
	if err := t.call(ctx, http.MethodPut, path+"/listing", nil, content, &listing); err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if o.price != nil {
		if err := ignoring(t.call(ctx, http.MethodPost, path+"/prices", nil, o.price, nil), "price_order"); err != nil {
			return fmt.Errorf("price: %w", err)
		}
	}
	if o.grantTo != "" {
		grant := map[string]any{"organization": o.grantTo, "access": "view"}
		if err := ignoring(t.call(ctx, http.MethodPost, path+"/grants", nil, grant, nil), "grant_exists"); err != nil {
			return fmt.Errorf("grant: %w", err)
		}
	}
	if err := ignoring(t.call(ctx, http.MethodPost, path+"/listing/submit", nil, nil, &listing), "listing_state"); err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	approve := "/v1/platform/listings/" + examplesOrg + "/" + agent + "/approve"
	err = t.as(t.keys.operator).call(ctx, http.MethodPost, approve, nil, map[string]any{"comment": "An example of the platform."}, nil)
	if err := ignoring(err, "listing_state"); err != nil {
		return fmt.Errorf("approve: %w", err)
	}
	return nil
}

// listing is what the publisher says about an example, from its own files.
func (tour) listing(agent string, o offer) (map[string]any, error) {
	dir := filepath.Join("examples/agents", agent)
	files := map[string][]byte{}
	for _, name := range []string{"README.md", "sample-input.json", "sample-output.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = text
	}
	return map[string]any{
		"title": o.title, "summary": "An example agent: " + o.title + ".", "readme": string(files["README.md"]),
		"categories": o.categories, "tags": []string{"example"}, "visibility": o.visibility,
		"samples": []map[string]any{{
			"title": "The sample of its folder", "input": json.RawMessage(files["sample-input.json"]),
			"output": json.RawMessage(files["sample-output.json"]),
		}},
	}, nil
}

// ignoring drops a problem with a code.
func ignoring(err error, code string) error {
	var problem *problemError
	if errors.As(err, &problem) && problem.Code == code {
		return nil
	}
	return err
}

// buy shows what a buyer meets: a start that is denied, the order, and the same
// start again.
func (t tour) buy(ctx context.Context) error {
	buyer := t.as(t.keys.buyer)
	run, err := buyer.summarize(ctx)
	var denied *problemError
	switch {
	case err == nil: // ordered at an earlier start of the stack
		t.say.step("summarize, for %s: %s, cost %s, run %s\n%s", buyerOrg, run.Status, run.Cost, run.ID, indent(run.Output))
		return nil
	case !errors.As(err, &denied) || denied.Status != http.StatusPaymentRequired:
		return err
	}
	t.say.step("summarize, for %s: denied, %s", buyerOrg, denied.Error())

	credit := map[string]any{"amount": map[string]any{"amount_micros": 10_000_000, "currency": "USD"}, "reason": "the tour of the development stack"}
	path := "/v1/platform/organizations/" + buyerOrg + "/credits"
	if err := t.as(t.keys.operator).call(ctx, http.MethodPost, path, map[string]string{"Idempotency-Key": "tour"}, credit, nil); err != nil {
		return fmt.Errorf("credit wallet: %w", err)
	}
	if err := buyer.call(ctx, http.MethodPost, "/v1/orders", nil, map[string]any{"agent": examplesOrg + "/summarize"}, nil); err != nil {
		return fmt.Errorf("order: %w", err)
	}
	t.say.step("%s has 10 USD and ordered %s/summarize at 0.25 USD a run", buyerOrg, examplesOrg)
	if run, err = buyer.summarize(ctx); err != nil {
		return err
	}
	t.say.step("summarize, for %s: %s, cost %s, run %s\n%s", buyerOrg, run.Status, run.Cost, run.ID, indent(run.Output))
	return nil
}
