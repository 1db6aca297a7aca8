package farmspec

import (
	"net/http"
	"testing"
	"time"
)

func TestCacheKeepsWhatBrowsersKeep(t *testing.T) {
	date := noon.Format(http.TimeFormat)
	for _, tc := range []struct {
		name         string
		status       int
		header       http.Header
		shown, fresh bool
		why          string
	}{
		{"nothing said", 200, nil, true, false, "RFC 9111 3: 200 is heuristically cacheable; 4.2.2: no Last-Modified, no guess"},
		{"no-store", 200, http.Header{"Cache-Control": {"max-age=60, no-store"}}, false, false, "5.2.2.5: not kept, so nothing to go back to"},
		{"no-cache", 200, http.Header{"Cache-Control": {"no-cache"}}, true, false, "5.2.2.4: kept, and the back button shows it (6)"},
		{"pragma", 200, http.Header{"Pragma": {"no-cache"}, "Expires": {noon.Add(time.Hour).Format(http.TimeFormat)}, "Date": {date}}, true, false, "5.4: the old way to say it"},
		{"max-age", 200, http.Header{"Cache-Control": {"Private, MAX-AGE=\"60\""}}, true, true, "5.2: case and quotes do not count"},
		{"max-age spent on the way", 200, http.Header{"Cache-Control": {"max-age=60"}, "Age": {"60"}}, true, false, "4.2.3: Age counts"},
		{"max-age zero", 200, http.Header{"Cache-Control": {"max-age=0"}}, true, false, "4.2.1"},
		{"for shared caches", 200, http.Header{"Cache-Control": {"s-maxage=60"}}, true, false, "5.2.2.10: not for a private cache"},
		{"expires", 200, http.Header{"Expires": {noon.Add(time.Minute).Format(http.TimeFormat)}, "Date": {date}}, true, true, "5.3"},
		{"expires nonsense", 200, http.Header{"Expires": {"0"}, "Date": {date}}, true, false, "5.3: an invalid date has passed"},
		{"heuristic", 200, http.Header{"Last-Modified": {noon.Add(-24 * time.Hour).Format(http.TimeFormat)}, "Date": {date}}, true, true, "4.2.2: a tenth of a day"},
		{"heuristic forbidden", 200, http.Header{"Last-Modified": {noon.Add(-24 * time.Hour).Format(http.TimeFormat)}, "Date": {date}, "Cache-Control": {"must-revalidate"}}, true, false, "5.2.2.2"},
		{"moved permanently", 301, nil, true, true, "RFC 9110 15.4.2: kept for good unless told otherwise"},
		{"permanent redirect", 308, nil, true, true, "RFC 9110 15.4.9"},
		{"permanent, no-store", 301, http.Header{"Cache-Control": {"no-store"}}, false, false, "RFC 9111 5.2.2.5"},
		{"found", 302, nil, false, false, "RFC 9110 15.4.3: not cacheable by itself"},
		{"found with max-age", 302, http.Header{"Cache-Control": {"max-age=60"}}, true, true, "RFC 9111 3"},
		{"set-cookie", 200, http.Header{"Set-Cookie": {"token=t"}, "Cache-Control": {"max-age=60"}}, true, true, "7.3: a cookie does not inhibit caching"},
		{"refusal", 403, nil, false, false, "RFC 9110 15.1: 403 is not in the list"},
		{"partial", 206, http.Header{"Cache-Control": {"max-age=60"}}, false, false, "kept by no small cache"},
		{"vary star", 200, http.Header{"Vary": {"*"}, "Cache-Control": {"max-age=60"}}, false, false, "4.1: matches nothing"},
		{"vary cookie", 200, http.Header{"Vary": {"Accept, cookie"}, "Cache-Control": {"max-age=60"}}, false, false, "4.1: the request below has another cookie"},
		{"vary same", 200, http.Header{"Vary": {"Accept"}, "Cache-Control": {"max-age=60"}}, true, true, "4.1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var c cache
			x := &Exchange{Method: "GET", URL: s1 + "#top", Status: tc.status, Header: tc.header, RequestHeader: http.Header{"Cookie": {"token=old"}}}
			c.keep(x, "", noon)
			got, fresh, shown := c.find(s1, func(string) bool { return true }, http.Header{"Cookie": {"token=new"}}, noon.Add(time.Second))
			if shown != tc.shown || fresh != tc.fresh {
				t.Errorf("shown %v, fresh %v, want %v, %v (%s)", shown, fresh, tc.shown, tc.fresh, tc.why)
			}
			if shown && (!got.FromCache || x.FromCache) {
				t.Error("the copy must say that it comes from the cache, the original not")
			}
		})
	}
}

func TestCacheForgets(t *testing.T) {
	var c cache
	any := func(string) bool { return true }
	page := func(url string) *Exchange {
		return &Exchange{Method: "GET", URL: url, Status: 200, Header: http.Header{"Cache-Control": {"max-age=60"}}, Body: make([]byte, MaxBody)}
	}
	c.keep(page(s1), "", noon)
	c.keep(page(s2), "", noon)
	c.keep(&Exchange{Method: "POST", URL: s1, Status: 303, Header: http.Header{"Location": {s2}}}, "", noon)
	if _, _, ok := c.find(s1, any, nil, noon); ok {
		t.Error("a page is kept after a successful POST to it (RFC 9111, section 4.4)")
	}
	if _, _, ok := c.find(s2, any, nil, noon); !ok {
		t.Error("a POST made a page of another origin stale")
	}
	c.keep(&Exchange{Method: "POST", URL: s2, Status: 500}, "", noon)
	if _, _, ok := c.find(s2, any, nil, noon); !ok {
		t.Error("a failed POST made a page stale")
	}
	for i := range 20 {
		c.keep(page(s1+string(rune('a'+i))), "", noon)
	}
	if c.size > maxCache || len(c.stored) != 8 {
		t.Errorf("%d answers, %d bytes kept", len(c.stored), c.size)
	}
	if _, _, ok := c.find(s2, any, nil, noon); ok {
		t.Error("the oldest went last")
	}
}
