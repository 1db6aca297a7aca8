package farmspec

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// ReferrerPolicy says how much of a page's address a browser tells
// elsewhere (W3C Referrer Policy, section 3).
type ReferrerPolicy string

// The policies. The empty one means [StrictOriginWhenCrossOrigin].
const (
	NoReferrer                  ReferrerPolicy = "no-referrer"
	NoReferrerWhenDowngrade     ReferrerPolicy = "no-referrer-when-downgrade"
	SameOriginReferrer          ReferrerPolicy = "same-origin"
	OriginReferrer              ReferrerPolicy = "origin"
	StrictOriginReferrer        ReferrerPolicy = "strict-origin"
	OriginWhenCrossOrigin       ReferrerPolicy = "origin-when-cross-origin"
	StrictOriginWhenCrossOrigin ReferrerPolicy = "strict-origin-when-cross-origin"
	UnsafeURL                   ReferrerPolicy = "unsafe-url"
)

var referrerPolicies = []ReferrerPolicy{
	NoReferrer, NoReferrerWhenDowngrade, SameOriginReferrer, OriginReferrer,
	StrictOriginReferrer, OriginWhenCrossOrigin, StrictOriginWhenCrossOrigin, UnsafeURL,
}

// maxReferrer is the length over which only the origin is sent (W3C Referrer
// Policy, section 8.3).
const maxReferrer = 4096

// headerPolicy reads Referrer-Policy: the last value known wins (section 8.1).
func headerPolicy(h http.Header) ReferrerPolicy {
	var policy ReferrerPolicy
	for _, field := range h.Values("Referrer-Policy") {
		for value := range strings.SplitSeq(field, ",") {
			if p := knownPolicy(value); p != "" {
				policy = p
			}
		}
	}
	return policy
}

// metaPolicy reads the content of <meta name=referrer>, the four old words
// included (HTML, "referrer").
func metaPolicy(content string) ReferrerPolicy {
	switch strings.ToLower(strings.TrimSpace(content)) {
	case "never":
		return NoReferrer
	case "default":
		return StrictOriginWhenCrossOrigin
	case "always":
		return UnsafeURL
	case "origin-when-crossorigin":
		return OriginWhenCrossOrigin
	}
	return knownPolicy(content)
}

// knownPolicy returns the policy so named, or "".
func knownPolicy(s string) ReferrerPolicy {
	p := ReferrerPolicy(strings.ToLower(strings.TrimSpace(s)))
	if slices.Contains(referrerPolicies, p) {
		return p
	}
	return ""
}

// referrer returns what a request to to tells of the page from under policy:
// a stripped address, or nil for nothing (W3C Referrer Policy, section 8.3).
// A downgrade is from https to http, as browsers have it.
func referrer(policy ReferrerPolicy, from, to *url.URL) *url.URL {
	if from == nil || from.Scheme != "http" && from.Scheme != "https" {
		return nil
	}
	full := &url.URL{Scheme: from.Scheme, Host: from.Host, Path: from.Path, RawPath: from.RawPath, RawQuery: from.RawQuery, ForceQuery: from.ForceQuery}
	only := &url.URL{Scheme: from.Scheme, Host: from.Host, Path: "/"}
	if full.Path == "" {
		full.Path = "/"
	}
	if len(full.String()) > maxReferrer {
		full = only
	}
	same := sameOrigin(from, to)
	downgrade := from.Scheme == "https" && to.Scheme != "https"
	switch policy {
	case NoReferrer:
		return nil
	case UnsafeURL:
		return full
	case OriginReferrer:
		return only
	case OriginWhenCrossOrigin:
		if same {
			return full
		}
		return only
	case SameOriginReferrer:
		if same {
			return full
		}
		return nil
	}
	switch {
	case downgrade:
		return nil
	case policy == NoReferrerWhenDowngrade, same && policy != StrictOriginReferrer:
		return full
	}
	return only
}

// originHeader is the Origin field of a request that page makes to to under
// policy (Fetch, "append a request Origin header"). tainted says that a
// redirect between two other origins led there.
func originHeader(policy ReferrerPolicy, page, to *url.URL, tainted bool) string {
	hidden := false
	switch policy {
	case NoReferrer:
		hidden = true
	case SameOriginReferrer:
		hidden = !sameOrigin(page, to)
	case UnsafeURL, OriginReferrer, OriginWhenCrossOrigin:
	default:
		hidden = page.Scheme == "https" && to.Scheme != "https"
	}
	if hidden || tainted {
		return "null"
	}
	return origin(page)
}

// origin is scheme, host and port, the default port left out.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

func sameOrigin(a, b *url.URL) bool { return origin(a) == origin(b) }
