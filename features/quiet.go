package features

import (
	"io"

	"github.com/cucumber/godog"
	messages "github.com/cucumber/messages/go/v21"
)

// quiet is a godog formatter that prints nothing: the judge keeps its own
// record through hooks.
const quiet = "farmspec-quiet"

func init() {
	godog.Format(quiet, "prints nothing", func(string, io.Writer) godog.Formatter { return silent{} })
}

type silent struct{}

func (silent) TestRunStarted()                                   {}
func (silent) Feature(*messages.GherkinDocument, string, []byte) {}
func (silent) Pickle(*messages.Pickle)                           {}
func (silent) Defined(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition) {
}
func (silent) Failed(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition, error) {
}
func (silent) Passed(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition) {
}
func (silent) Skipped(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition) {
}
func (silent) Undefined(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition) {
}
func (silent) Pending(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition) {
}
func (silent) Ambiguous(*messages.Pickle, *messages.PickleStep, *godog.StepDefinition, error) {
}
func (silent) Summary() {}
