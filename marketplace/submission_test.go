package marketplace_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/marketplace"
	"agentmarket/product"
)

// registryWith has the images that are true, does not have those that are false,
// and does not answer for others.
type registryWith map[string]bool

func (r registryWith) Resolve(_ context.Context, image string) error {
	has, known := r[image]
	switch {
	case !known:
		return fault.New(fault.Unavailable, "", "the registry does not answer")
	case !has:
		return fault.New(fault.Invalid, "image_unknown", "the registry does not have it")
	}
	return nil
}

var image = "registry.example/acme/greeter@sha256:" + strings.Repeat("0", 64)

func version(t *testing.T, more string) product.Version {
	t.Helper()
	m, err := agentruntime.ParseManifest([]byte(`{"api_version": "agentmarket/v1", "name": "greeter", "version": "1.2.0",
		"summary": "Greets", "command": ["/greeter"],
		"input_schema": {"type": "object", "required": ["name"]}, "output_schema": {"type": "string"}` + more + `}`))
	require.NoError(t, err)
	v, err := product.NewVersion("agt_1", m, image, now)
	require.NoError(t, err)
	return v
}

func TestCheckSubmission(t *testing.T) {
	type change func(*marketplace.Listing, *product.Version)
	samples := func(list ...marketplace.Sample) change {
		return func(l *marketplace.Listing, _ *product.Version) { l.Content.Samples = list }
	}
	for name, tc := range map[string]struct {
		change change
		images registryWith
		failed map[string]string // pointer of each check that fails
	}{
		"all is well":       {nil, registryWith{image: true}, nil},
		"no samples":        {samples(), registryWith{image: true}, nil},
		"no such image":     {nil, registryWith{image: false}, map[string]string{"image": ""}},
		"sample of nothing": {samples(marketplace.Sample{Input: json.RawMessage(`{}`)}), registryWith{image: true}, map[string]string{"samples": "/samples/0"}},
		"second output is wrong": {
			samples(marketplace.Sample{Input: json.RawMessage(`{"name":1}`)},
				marketplace.Sample{Input: json.RawMessage(`{"name":1}`), Output: json.RawMessage(`7`)}),
			registryWith{image: true}, map[string]string{"samples": "/samples/1"},
		},
		"sample that is no JSON": {samples(marketplace.Sample{Input: json.RawMessage(`{`)}), registryWith{image: true}, map[string]string{"samples": "/samples/0"}},
		"schema that is none": {
			func(_ *marketplace.Listing, v *product.Version) {
				v.Manifest.InputSchema = json.RawMessage(`{"type": 7}`)
			},
			registryWith{image: true}, map[string]string{"schemas": "", "samples": "/samples"},
		},
		"output schema that is none": {
			func(_ *marketplace.Listing, v *product.Version) {
				v.Manifest.OutputSchema = json.RawMessage(`{"type": 7}`)
			},
			registryWith{image: true}, map[string]string{"schemas": "", "samples": "/samples"},
		},
		"manifest without a command": {
			func(_ *marketplace.Listing, v *product.Version) { v.Manifest.Command = nil },
			registryWith{image: false}, map[string]string{"manifest": "", "image": ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, v := listing(t, marketplace.VisibilityPublic), version(t, "")
			if tc.change != nil {
				tc.change(&l, &v)
			}
			checks, err := marketplace.CheckSubmission(t.Context(), l, &v, tc.images)
			require.NoError(t, err)
			var names []string
			for _, c := range checks {
				names = append(names, c.Name)
				require.NotEmpty(t, c.Message, c.Name)
				pointer, failed := tc.failed[c.Name]
				require.Equal(t, !failed, c.Passed, "%s: %s", c.Name, c.Message)
				require.Equal(t, pointer, c.Pointer, c.Name)
			}
			require.Equal(t, []string{"manifest", "schemas", "samples", "permissions", "image"}, names)

			err = l.Submit(checks, true, now)
			if len(tc.failed) == 0 {
				require.NoError(t, err)
				return
			}
			denied(t, err, fault.Invalid, "listing_checks_failed")
		})
	}
}

func TestCheckSubmissionDecidesNothingWithoutTheRegistry(t *testing.T) {
	v := version(t, "")
	checks, err := marketplace.CheckSubmission(t.Context(), listing(t, marketplace.VisibilityPublic), &v, registryWith{})
	require.True(t, fault.Is(err, fault.Unavailable))
	require.ErrorContains(t, err, "acme/greeter")
	require.Nil(t, checks)

	_, err = marketplace.CheckSubmission(t.Context(), listing(t, marketplace.VisibilityPublic), &v, brokenRegistry{})
	require.True(t, fault.Is(err, fault.Internal))
}

func TestPlatformWithoutARegistryClientLooksForNoImage(t *testing.T) {
	v := version(t, "")
	checks, err := marketplace.CheckSubmission(t.Context(), listing(t, marketplace.VisibilityPublic), &v, nil)
	require.NoError(t, err)
	require.Equal(t, marketplace.Check{Name: "image", Passed: true, Message: "not checked: " + image}, checks[len(checks)-1])
}

type brokenRegistry struct{}

func (brokenRegistry) Resolve(context.Context, string) error { return errors.New("not a fault") }

func TestPreviewIsSubmittedWithoutAVersion(t *testing.T) {
	checks, err := marketplace.CheckSubmission(t.Context(), listing(t, marketplace.VisibilityPublic), nil, registryWith{})
	require.NoError(t, err)
	require.Len(t, checks, 1)
	require.True(t, checks[0].Passed)
	require.Contains(t, checks[0].Message, "preview")
}

func TestBuyersSeeWhatASubmissionShows(t *testing.T) {
	v := version(t, `, "tools": ["search"], "secrets": ["TOKEN", "API_KEY"], "egress": ["api.example.com:443", "*.example.org"],
		"resources": {"cpu_millis": 1250, "memory_mib": 256, "disk_mib": 32}, "timeouts": {"run_seconds": 90}`)
	checks, err := marketplace.CheckSubmission(t.Context(), listing(t, marketplace.VisibilityPublic), &v, registryWith{image: true})
	require.NoError(t, err)
	want := []string{
		"calls the tools search",
		"uses the secrets API_KEY, TOKEN",
		"connects to *.example.org, api.example.com:443",
		"runs for up to 90 s with 1.250 CPU, 256 MiB of memory and 32 MiB of disk",
	}
	require.Empty(t, cmp.Diff(want, checks[3].Details))
	require.Equal(t, want[3:], marketplace.DescribePermissions(product.Permissions{CPUMillis: 1250, MemoryMiB: 256, DiskMiB: 32, RunSeconds: 90}))
}
