package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/publicnet"
)

// CodeNotFound is the code of an image that cannot be had.
const CodeNotFound = "image_not_found"

// Config is how images are looked for.
type Config struct {
	// Preloaded are the beginnings of names of images that nobody is asked for:
	// they are on the nodes already, or come from a registry that only the
	// cluster can reach. A prefix ends where a part of a name does:
	// registry.example/team. Default: none.
	Preloaded []string
	// Timeout bounds one answer, with all requests that it takes. Default: 10
	// seconds.
	Timeout time.Duration
	// Transport carries the requests. Default: one that connects to public
	// addresses only.
	Transport http.RoundTripper
	// Private are networks of the platform that the default transport does not
	// connect to either.
	Private []netip.Prefix
}

// Client answers whether images can be had.
type Client struct {
	preloaded []string
	timeout   time.Duration
	http      *http.Client
}

const (
	defaultTimeout = 10 * time.Second
	maxRedirects   = 3
	userAgent      = "agentmarket"
)

// New returns a client. It makes no request.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Transport == nil {
		cfg.Transport = publicnet.Transport(cfg.Private...)
	}
	return &Client{
		preloaded: slices.Clone(cfg.Preloaded), timeout: cfg.Timeout,
		http: &http.Client{Transport: cfg.Transport, CheckRedirect: checkRedirect},
	}
}

func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects || next.URL.Scheme != "https" {
		return http.ErrUseLastResponse // it is judged by its status
	}
	return nil
}

// Resolve returns nil for an image, HOST/NAME@sha256:…, that can be had by anybody or
// is declared preloaded. One that cannot is fault.Invalid with the code
// image_not_found; a registry that does not answer is fault.Unavailable.
func (c *Client) Resolve(ctx context.Context, image string) error {
	if slices.ContainsFunc(c.preloaded, func(prefix string) bool { return covers(prefix, image) }) {
		return nil
	}
	ref, ok := parse(image)
	if !ok {
		return notFound("%s is not the name of an image with its registry and a digest, HOST/NAME@sha256:…", image)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	found, err := c.head(ctx, ref, "")
	if err != nil {
		return err
	}
	if found.status == http.StatusUnauthorized {
		token, err := c.token(ctx, ref, found.challenges)
		if err != nil {
			return err
		}
		if found, err = c.head(ctx, ref, token); err != nil {
			return err
		}
	}
	return found.verdict(ref)
}

// answer is what a registry says about a manifest.
type answer struct {
	status     int
	challenges []string
}

// verdict judges the last answer. What is not found and what is not public look
// alike in many registries, on purpose.
func (a answer) verdict(ref reference) error {
	switch a.status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return notFound("%s does not give %s@%s to everybody", ref.host, ref.repository, ref.digest)
	case http.StatusNotFound, http.StatusBadRequest, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return notFound("%s has no image %s@%s", ref.host, ref.repository, ref.digest)
	default:
		return fault.Newf(fault.Unavailable, "", "%s does not answer at the moment: status %d", ref.host, a.status)
	}
}

// manifestTypes are the forms of a manifest that container runtimes take.
var manifestTypes = []string{
	"application/vnd.oci.image.index.v1+json",
	"application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
}

// head asks for the manifest, with a token unless it is empty.
func (c *Client) head(ctx context.Context, ref reference, token string) (answer, error) {
	u := url.URL{Scheme: "https", Host: ref.host, Path: "/v2/" + ref.repository + "/manifests/" + ref.digest}
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), nil)
	if err != nil { // a port that is none
		return answer{}, notFound("%s is not the address of a registry", ref.host)
	}
	for _, form := range manifestTypes {
		request.Header.Add("Accept", form)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := c.do(request, ref.host)
	if err != nil {
		return answer{}, err
	}
	response.Body.Close()
	return answer{response.StatusCode, response.Header.Values("WWW-Authenticate")}, nil
}

// do sends a request. host is whom an error blames.
func (c *Client) do(request *http.Request, host string) (*http.Response, error) {
	request.Header.Set("User-Agent", userAgent)
	response, err := c.http.Do(request)
	var dns *net.DNSError
	switch {
	case err == nil:
		return response, nil
	case errors.Is(err, publicnet.ErrNotPublic):
		return nil, notFound("%s is not at a public address, where images are looked for; its images can be declared preloaded", host)
	case errors.As(err, &dns) && dns.IsNotFound:
		return nil, notFound("there is no registry %s", host)
	default:
		return nil, fault.Wrap(fault.Unavailable, err, host+" does not answer at the moment")
	}
}

func notFound(format string, args ...any) error {
	return fault.New(fault.Invalid, CodeNotFound, "the image cannot be had: "+fmt.Sprintf(format, args...))
}
