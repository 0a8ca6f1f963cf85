package models

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
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

// ReadFile reads a catalog from a YAML file; prices are of a million tokens, in
// micro-units of the currency. Keys are read from their files for each call, so that
// they can be replaced; one that cannot be read now is an error now.
func ReadFile(path, currency string) (Catalog, error) {
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
		c.Upstreams = append(c.Upstreams, Upstream{Name: u.Name, BaseURL: u.BaseURL, Key: key})
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
	key := strings.TrimSpace(string(text))
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("the key in %s is not one line of printable ASCII characters", path)
	}
	return key, nil
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
