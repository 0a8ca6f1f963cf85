package models

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"agentmarket/agentruntime"
	"agentmarket/fault"
	"agentmarket/ids"
)

// maxFile and maxKeyFile bound what operators write, in bytes.
const (
	maxFile    = 1 << 20
	maxKeyFile = 16 << 10
)

// Catalog is the models that runs can be granted, and the servers that have them.
type Catalog struct {
	Models    []Model
	Upstreams []Upstream
}

// Priced reports whether a model costs something.
func (c Catalog) Priced() bool {
	return slices.ContainsFunc(c.Models, func(m Model) bool { return m.InputPrice > 0 || m.OutputPrice > 0 })
}

// fileCatalog is a catalog as operators write it.
type fileCatalog struct {
	Upstreams []fileUpstream `json:"upstreams"`
	Models    []fileModel    `json:"models"`
}

type fileUpstream struct {
	Name    string `json:"name"`
	BaseURL string `json:"base_url"`
	KeyFile string `json:"key_file"`
	// OrganizationSecret names the secret in which organizations may bring a key.
	OrganizationSecret string `json:"organization_secret"`
}

type fileModel struct {
	Name            string `json:"name"`
	Upstream        string `json:"upstream"`
	UpstreamName    string `json:"upstream_name"`
	InputPrice      int64  `json:"input_price_micros"`
	OutputPrice     int64  `json:"output_price_micros"`
	MaxOutputTokens int64  `json:"max_output_tokens"`
	PartTokens      int64  `json:"part_tokens"`
	LegacyBound     bool   `json:"legacy_bound"`
}

// Secret opens a secret of an organization; fault.NotFound: it has none of that name.
type Secret func(ctx context.Context, org ids.Org, name string) ([]byte, error)

// ReadFile reads a catalog from a YAML file; prices are of a million tokens, in
// micro-units of the currency. Keys are read from their files for each call, so that
// they can be replaced; one that cannot be read now is an error now.
func ReadFile(path, currency string, secret Secret) (Catalog, error) {
	text, err := readBounded(path, maxFile)
	if err != nil {
		return Catalog{}, err
	}
	var file fileCatalog
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return Catalog{}, fmt.Errorf("models of %s: %w", path, err)
	}
	var c Catalog
	for _, u := range file.Upstreams {
		key := func(context.Context, Session) (string, error) { return "", nil }
		if u.KeyFile != "" {
			key = func(context.Context, Session) (string, error) { return readKey(u.KeyFile) }
			if _, err := readKey(u.KeyFile); err != nil {
				return Catalog{}, fmt.Errorf("upstream %s: %w", u.Name, err)
			}
		}
		upstream := Upstream{Name: u.Name, BaseURL: u.BaseURL, Key: key}
		if u.OrganizationSecret != "" {
			if !agentruntime.ValidSecret(u.OrganizationSecret) {
				return Catalog{}, fmt.Errorf("upstream %s: organization_secret is no name of a secret", u.Name)
			}
			upstream.OwnKey = func(ctx context.Context, s Session) (string, error) {
				return secret.key(ctx, s.Org, u.OrganizationSecret)
			}
		}
		c.Upstreams = append(c.Upstreams, upstream)
	}
	for _, m := range file.Models {
		c.Models = append(c.Models, Model{
			Name: m.Name, Upstream: m.Upstream, UpstreamName: m.UpstreamName, Currency: currency,
			InputPrice: m.InputPrice, OutputPrice: m.OutputPrice,
			MaxOutputTokens: m.MaxOutputTokens, PartTokens: m.PartTokens, LegacyBound: m.LegacyBound,
		})
	}
	if _, err := newCatalog(c.Models, c.Upstreams); err != nil {
		return Catalog{}, fmt.Errorf("models of %s: %w", path, err)
	}
	return c, nil
}

// readKey reads the key of an upstream. No error says what is in the file.
func readKey(path string) (string, error) {
	text, err := readBounded(path, maxKeyFile)
	if err != nil {
		return "", err
	}
	key, ok := keyOf(text)
	if !ok {
		return "", fmt.Errorf("the key in %s is not one line of printable ASCII characters", path)
	}
	return key, nil
}

// key is the key of an organization; empty: it has none.
func (s Secret) key(ctx context.Context, org ids.Org, name string) (string, error) {
	if org == "" { // that would be the operator's
		return "", nil
	}
	text, err := s(ctx, org, name)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	key, ok := keyOf(text)
	if !ok {
		return "", fmt.Errorf("the secret %s is not one line of printable ASCII characters", name)
	}
	return key, nil
}

func keyOf(text []byte) (key string, ok bool) {
	key = strings.TrimSpace(string(text))
	return key, key != "" && !strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' })
}

func readBounded(path string, most int64) ([]byte, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if about.Size() > most {
		return nil, errors.New(path + " is too large")
	}
	return os.ReadFile(path)
}
