package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"agentmarket/fault"
)

// maxToken bounds what a token service may answer, in bytes.
const maxToken = 64 << 10

// challengeField is name="value" in a WWW-Authenticate header.
var challengeField = regexp.MustCompile(`([A-Za-z]+)="([^"]*)"`)

// token gets the token for pulling that a registry gives to everybody, from the
// service that its challenge names.
func (c *Client) token(ctx context.Context, ref reference, challenges []string) (string, error) {
	realm, ok := realmOf(ref, challenges)
	if !ok {
		return "", answer{status: http.StatusUnauthorized}.verdict(ref)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return "", answer{status: http.StatusUnauthorized}.verdict(ref)
	}
	response, err := c.do(request, realm.Host)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", answer{status: response.StatusCode}.verdict(ref)
	}
	var body struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"` // the same, in the words of OAuth
	}
	err = json.NewDecoder(io.LimitReader(response.Body, maxToken)).Decode(&body)
	token := cmp.Or(body.Token, body.AccessToken)
	if err != nil || token == "" {
		return "", fault.Wrap(fault.Unavailable, err, realm.Host+" gives no readable token")
	}
	return token, nil
}

// realmOf returns where a token is to be had, for one repository and for
// pulling; false where the registry wants something else.
func realmOf(ref reference, challenges []string) (*url.URL, bool) {
	for _, challenge := range challenges {
		scheme, rest, _ := strings.Cut(challenge, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		fields := map[string]string{}
		for _, m := range challengeField.FindAllStringSubmatch(rest, -1) {
			fields[strings.ToLower(m[1])] = m[2]
		}
		realm, err := url.Parse(fields["realm"])
		if err != nil || realm.Scheme != "https" || realm.Host == "" {
			continue
		}
		query := realm.Query()
		if service := fields["service"]; service != "" {
			query.Set("service", service)
		}
		query.Set("scope", "repository:"+ref.repository+":pull")
		realm.RawQuery = query.Encode()
		return realm, true
	}
	return nil, false
}
