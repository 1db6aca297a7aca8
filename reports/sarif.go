package reports

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/farmspec/farmspec"
)

// The SARIF form (OASIS SARIF 2.1.0), for code scanning: a rule for each
// requirement that was broken, and a result for each case that broke it. The
// place of a result is the target file, which is what its owner has, and the
// scenario is beside it; for a farm without a file the scenario is the place.
// What could not be judged is no result but a notification of the tool, and
// then the execution was not successful.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Automation  sarifAutomation   `json:"automationDetails"`
		ColumnKind  string            `json:"columnKind"`
		Results     []sarifResult     `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string         `json:"id"`
		ShortDescription sarifText      `json:"shortDescription"`
		FullDescription  sarifText      `json:"fullDescription"`
		HelpURI          string         `json:"helpUri"`
		Configuration    sarifLevel     `json:"defaultConfiguration"`
		Properties       map[string]any `json:"properties"`
	}
	sarifLevel struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		CommandLine   string              `json:"commandLine"`
		Successful    bool                `json:"executionSuccessful"`
		ExitCode      int                 `json:"exitCode"`
		ExitMeaning   string              `json:"exitCodeDescription"`
		Start         string              `json:"startTimeUtc"`
		End           string              `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations,omitempty"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Kind         string            `json:"kind"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations"`
		Related      []sarifLocation   `json:"relatedLocations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
		Properties   map[string]any    `json:"properties"`
	}
	sarifLocation struct {
		ID       int           `json:"id,omitempty"`
		Physical sarifPhysical `json:"physicalLocation"`
		Message  *sarifText    `json:"message,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   sarifRegion   `json:"region"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
)

// sarif renders results.sarif.
func sarif(v *view) ([]byte, error) {
	run := sarifRun{
		Tool: sarifTool{sarifDriver{
			Name: "farmspec", Version: v.Tool.Version, InformationURI: home, Rules: []sarifRule{},
		}},
		Invocations: []sarifInvocation{v.sarifInvocation()},
		Automation:  sarifAutomation{"farmspec/" + oneLine(v.subject())},
		ColumnKind:  "unicodeCodePoints",
		Results:     []sarifResult{},
	}
	rules := map[string]int{}
	cases := complete(v.Report).Results
	for i := range cases {
		r := &cases[i]
		if !slices.Contains([]farmspec.Verdict{farmspec.Fail, farmspec.Flaky, farmspec.Warn}, r.Verdict) {
			continue
		}
		evidence, err := evidenceDigest(r)
		if err != nil {
			return nil, err
		}
		for _, id := range r.Requirements {
			q := v.requirement[id]
			q.ID = id
			if _, ok := rules[id]; !ok {
				rules[id] = len(rules)
				run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(q))
			}
			result := sarifResult{
				RuleID: id, RuleIndex: rules[id], Level: sarifLevelOf(q.Strength), Kind: "fail",
				Message:      sarifText{oneLine(fmt.Sprintf("%s: %s (%s on %s)", r.Name, cmp.Or(r.Reason, string(r.Verdict)), r.Scenario, r.Target))},
				Locations:    []sarifLocation{scenarioPlace(r)},
				Fingerprints: map[string]string{"farmspec/v1": farmspec.Digest(strings.Join([]string{r.Scenario, id, r.Target}, "\x00"))},
				Properties: map[string]any{
					"scenario": r.Scenario, "target": r.Target, "verdict": r.Verdict, "repeat": r.Repeat, "evidence": evidence,
				},
			}
			if file := v.Targets[v.targets[r.Target]].File; file != "" {
				beside := result.Locations[0]
				beside.ID, beside.Message = 1, &sarifText{"the scenario that shows it"}
				result.Related = []sarifLocation{beside}
				result.Locations = []sarifLocation{place(file, 1)}
			}
			run.Results = append(run.Results, result)
		}
	}
	return json.MarshalIndent(sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run},
	}, "", " ")
}

// home is where the project is published.
const home = "https://github.com/farmspec/farmspec"

func (v *view) sarifInvocation() sarifInvocation {
	i := sarifInvocation{
		CommandLine: v.Run.Command, ExitCode: v.Exit, ExitMeaning: exitMeaning(v.Exit),
		Start: v.Run.Started.UTC().Format(time.RFC3339), End: v.Run.Started.Add(v.Run.Took).UTC().Format(time.RFC3339),
	}
	if !v.Run.Complete {
		i.Notifications = append(i.Notifications, sarifNotification{Level: "error", Message: sarifText{"The run is incomplete: " + oneLine(cmp.Or(v.Run.Why, "it ended early."))}})
	}
	for j := range v.Results {
		r := &v.Results[j]
		if r.Verdict != farmspec.Error && r.Verdict != farmspec.Inconclusive {
			continue
		}
		i.Notifications = append(i.Notifications, sarifNotification{
			Level:     map[bool]string{true: "error", false: "warning"}[r.Verdict == farmspec.Error],
			Message:   sarifText{oneLine(fmt.Sprintf("%s on %s was not judged (%s): %s", r.Scenario, r.Target, r.Verdict, r.Reason))},
			Locations: []sarifLocation{scenarioPlace(r)},
		})
	}
	i.Successful = len(i.Notifications) == 0 && slices.ContainsFunc(v.Results, func(r farmspec.Result) bool { return r.Verdict.Ran() })
	return i
}

// evidenceDigest is the SHA-256, in hex, of a case's line in results.json.
func evidenceDigest(r *farmspec.Result) (string, error) {
	text, err := line(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

func scenarioPlace(r *farmspec.Result) sarifLocation { return place("features/"+r.File, r.Line) }

func place(file string, line int) sarifLocation {
	u := url.URL{Path: filepath.ToSlash(file)}
	return sarifLocation{Physical: sarifPhysical{sarifArtifact{u.String()}, sarifRegion{max(line, 1)}}}
}

func sarifLevelOf(strength string) string {
	switch strength {
	case "SHOULD":
		return "warning"
	case "MAY":
		return "note"
	}
	return "error"
}

func sarifRuleOf(q farmspec.Requirement) sarifRule {
	title := cmp.Or(q.Title, q.ID)
	rule := sarifRule{
		ID: q.ID, ShortDescription: sarifText{title}, FullDescription: sarifText{fmt.Sprintf("%s. %s, by %s.", title, cmp.Or(q.Strength, "MUST"), cmp.Or(q.Source, "the catalogue"))},
		HelpURI: helpURI(q), Configuration: sarifLevel{sarifLevelOf(q.Strength)},
		Properties: map[string]any{"source": q.Source, "strength": q.Strength, "profile": q.Profile, "tags": []string{"security", "session-management", q.Section}},
	}
	if level := asvsLevel.FindStringSubmatch(q.Source); level != nil {
		rule.Properties["asvs-level"] = level[1]
	}
	return rule
}

var (
	asvsLevel   = regexp.MustCompile(`\((L[123])\)`)
	asvsChapter = regexp.MustCompile(`^v5\.0\.0-(\d+)\.`)
	rfcNumber   = regexp.MustCompile(`^RFC (\d+)`)
	draftName   = regexp.MustCompile(`^draft-[a-z0-9-]+`)
	nistPart    = regexp.MustCompile(`^SP 800-63B-4`)
)

// asvsFiles are the chapters of ASVS 5.0 that requirements come from.
var asvsFiles = map[string]string{
	"3": "0x12-V3-Web-Frontend-Security.md", "6": "0x15-V6-Authentication.md", "7": "0x16-V7-Session-Management.md",
	"8": "0x17-V8-Authorization.md", "9": "0x18-V9-Self-contained-Tokens.md", "10": "0x19-V10-OAuth-and-OIDC.md",
	"11": "0x20-V11-Cryptography.md", "12": "0x21-V12-Secure-Communication.md", "13": "0x22-V13-Configuration.md", "14": "0x23-V14-Data-Protection.md",
	"15": "0x24-V15-Secure-Coding-and-Architecture.md", "16": "0x25-V16-Security-Logging-and-Error-Handling.md",
}

// helpURI is where the source of a requirement is published.
func helpURI(q farmspec.Requirement) string {
	const asvs = "https://github.com/OWASP/ASVS/blob/master/5.0/en/"
	switch m := asvsChapter.FindStringSubmatch(q.Source); {
	case m != nil:
		return asvs + asvsFiles[m[1]]
	case strings.HasPrefix(q.ID, "WSTG-"):
		return "https://owasp.org/www-project-web-security-testing-guide/stable/4-Web_Application_Security_Testing/06-Session_Management_Testing/"
	case nistPart.MatchString(q.Source):
		return "https://pages.nist.gov/800-63-4/sp800-63b.html"
	case strings.HasPrefix(q.Source, "Jakarta Servlet 6.0"):
		return "https://jakarta.ee/specifications/servlet/6.0/"
	case strings.HasPrefix(q.Source, "OpenID Connect Back-Channel"):
		return "https://openid.net/specs/openid-connect-backchannel-1_0.html"
	case strings.HasPrefix(q.Source, "SAML 2.0"):
		return "https://docs.oasis-open.org/security/saml/v2.0/"
	case strings.HasPrefix(q.Source, "CAS Protocol"):
		return "https://apereo.github.io/cas/development/protocol/CAS-Protocol-Specification.html"
	case q.Section == "web-farm" && len(q.Claims) > 0:
		return "https://patents.google.com/patent/US8578462B2/en"
	}
	if m := rfcNumber.FindStringSubmatch(q.Source); m != nil {
		return "https://www.rfc-editor.org/rfc/rfc" + m[1]
	}
	if name := draftName.FindString(q.Source); name != "" {
		return "https://datatracker.ietf.org/doc/" + name + "/"
	}
	return home + "/blob/main/docs/requirements.md"
}
