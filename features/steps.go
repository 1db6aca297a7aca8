package features

import (
	"regexp"
	"sync"

	"github.com/cucumber/godog"
)

// scene is what the steps of each subject remember within one scenario.
type scene struct {
	acts     peopleScene
	rotate   rotateScene
	race     raceScene
	handoff  handoffScene
	verify   verifyScene
	time     timeScene
	sessions sessionsScene
	ending   endingScene
	account  accountScene
	life     lifeScene
	service  serviceScene
	slo      sloScene
	hostile  hostileScene
	wire     wireScene
	tokens   tokensScene
	// secrets are further values that must not reach the evidence.
	secrets []string
}

// registerSteps binds the steps of every subject to this scenario's world.
func (w *world) registerSteps(sc *godog.ScenarioContext) {
	s := stepper{sc}
	w.registerPeople(s)
	w.registerRotate(s)
	w.registerRace(s)
	w.registerInside(s)
	w.registerTime(s)
	w.registerSessions(s)
	w.registerEnding(s)
	w.registerAccount(s)
	w.registerLife(s)
	w.registerHandoff(s)
	w.registerVerify(s)
	w.registerPages(s)
	w.registerService(s)
	w.registerSLO(s)
	w.registerHostile(s)
	w.registerWire(s)
	w.registerTokens(s)
}

// stepper registers steps whose patterns are compiled once for all scenarios.
type stepper struct{ sc *godog.ScenarioContext }

var patterns sync.Map // pattern -> *regexp.Regexp

// step binds a pattern, anchored at both ends, to a method of the world.
func (s stepper) step(pattern string, do any) {
	re, ok := patterns.Load(pattern)
	if !ok {
		re, _ = patterns.LoadOrStore(pattern, regexp.MustCompile("^"+pattern+"$"))
	}
	s.sc.Step(re.(*regexp.Regexp), do)
}
