//! Questions to all cores, each asked once for everybody who wants to know.
//!
//! A core has at most one survey under way for each [`Question`]. Who asks meanwhile waits for the next one, which begins
//! after he has asked: nobody sees numbers older than his own request, and a flood of scrapes costs no more than one
//! after the other. When all cores have reported, the pages are written, by somebody else where there is one: see
//! [`Host::write_pages`].

use super::Engine;
use super::parts::{Host, PagesErrand, PagesState, Parts};
use crate::forward::Waiter;
use crate::insight::page::{Bundle, Form, WrittenPage};
use crate::insight::{Question, Report};
use crate::metrics::ProcessFacts;
use crate::parcel::{Parcel, Work};
use crate::routing::ShardId;
use crate::session::ConnId;
use crate::time::{Mono, Now};

/// A survey of one core; never named twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyId {
    question: Question,
    round: u64,
}

/// A request that waits for a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its connection.
    pub conn: ConnId,
    /// Its slot there.
    pub slot: u64,
    /// The page that it wants; `None` if the reports are enough.
    pub form: Option<Form>,
}

/// The surveys of one core.
#[derive(Debug, Default)]
pub struct Surveys {
    by_question: [Survey; Question::ALL.len()],
    /// Something has happened that [`Engine::go_on_with_surveys`] has not seen yet.
    stirred: bool,
}

#[derive(Debug, Default)]
struct Survey {
    round: u64,
    phase: Phase,
    askers: Vec<Asker>,
    /// Who came too late for the survey that is under way.
    next: Vec<Asker>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    Gathering {
        /// What the cores have answered, in their order; this core answers last.
        reports: Vec<Option<Report>>,
        /// Cores whose lanes were full.
        unasked: Vec<ShardId>,
        /// Nobody waits longer than this.
        deadline: Mono,
    },
    Writing {
        deadline: Mono,
    },
}

impl Surveys {
    /// Has `asker` take part in the next survey.
    pub fn join(&mut self, question: Question, asker: Asker) {
        self.by_question[question as usize].next.push(asker);
        self.stirred = true;
    }

    /// The survey `id`, if it is the one under way.
    fn under_way(&mut self, id: SurveyId) -> Option<&mut Survey> {
        let survey = &mut self.by_question[id.question as usize];
        (survey.round == id.round && !matches!(survey.phase, Phase::Idle)).then_some(survey)
    }

    /// Takes the report of another core. False if nobody waits for it any more.
    fn take_report(&mut self, id: SurveyId, from: ShardId, report: Option<Report>) -> bool {
        let Some(Survey { phase: Phase::Gathering { reports, .. }, .. }) = self.under_way(id) else { return false };
        reports[from.index()] = report;
        self.stirred = true;
        true
    }

    /// Ends the survey `id`; gives who has waited for it.
    fn end(&mut self, id: SurveyId) -> Vec<Asker> {
        self.stirred = true;
        let Some(survey) = self.under_way(id) else { return Vec::new() };
        survey.phase = Phase::Idle;
        std::mem::take(&mut survey.askers)
    }
}

impl Survey {
    fn is_complete(&self, me: ShardId) -> bool {
        let Phase::Gathering { reports, .. } = &self.phase else { return false };
        (0..).zip(reports).all(|(core, report)| report.is_some() || ShardId(core) == me)
    }
}

impl Engine {
    /// Takes the pages of a survey of this core's that [`Host::write_pages`] has promised.
    pub fn pages_written(&mut self, now: Now, host: &mut impl Host, id: SurveyId, pages: &[WrittenPage]) {
        let askers = self.parts.surveys.end(id);
        self.hand_out(now, host, &askers, pages);
        self.go_on_with_surveys(now, host);
    }

    /// Takes back a parcel with the report of another core.
    pub(super) fn report_came(&mut self, now: Now, host: &mut impl Host, id: SurveyId, mut parcel: Box<Parcel>) {
        if let Work::Tell { report, .. } = &mut parcel.work
            && !self.parts.surveys.take_report(id, parcel.to, report.take())
        {
            self.parts.metrics.late_replies += 1;
        }
        self.parts.forward.recycle(parcel);
        self.go_on_with_surveys(now, host);
    }

    /// Begins the surveys that are asked for and ends those that are complete.
    pub(super) fn go_on_with_surveys(&mut self, now: Now, host: &mut impl Host) {
        while std::mem::take(&mut self.parts.surveys.stirred) {
            for question in Question::ALL {
                let survey = &mut self.parts.surveys.by_question[question as usize];
                if matches!(survey.phase, Phase::Idle) && !survey.next.is_empty() {
                    self.parts.begin_survey(now, host, question);
                }
                if self.parts.surveys.by_question[question as usize].is_complete(self.parts.me) {
                    self.evaluate(now, host, question);
                }
            }
        }
    }

    /// Looks after the surveys under way: asks again where a lane was full, gives up what has waited for too long.
    pub(super) fn look_after_surveys(&mut self, now: Now, host: &mut impl Host) {
        for question in Question::ALL {
            self.parts.ask_unasked(now, host, question);
            let survey = &self.parts.surveys.by_question[question as usize];
            let id = SurveyId { question, round: survey.round };
            let is_late = |deadline: &Mono| *deadline < now.mono();
            let silent: Vec<u16> = match &survey.phase {
                Phase::Gathering { deadline, reports, .. } if is_late(deadline) => {
                    let me = self.parts.me.0;
                    (0..).zip(reports).filter(|(core, it)| it.is_none() && *core != me).map(|(core, _)| core).collect()
                }
                Phase::Writing { deadline } if is_late(deadline) => Vec::new(),
                _ => continue,
            };
            let why = if silent.is_empty() {
                "the page was not written within REQUEST_TIMEOUT_MS".to_owned()
            } else {
                format!("no answer from cores {silent:?} within REQUEST_TIMEOUT_MS")
            };
            self.turn_away_askers(now, host, id, &why);
        }
        self.go_on_with_surveys(now, host);
    }

    /// All cores have reported: answers who wanted no more than that, and has pages written for the others.
    fn evaluate(&mut self, now: Now, host: &mut impl Host, question: Question) {
        let own = self.parts.report(now, host, question);
        let me = self.parts.me;
        let deadline = now.mono().plus_millis(self.parts.settings.request_timeout_ms);
        let survey = &mut self.parts.surveys.by_question[question as usize];
        let id = SurveyId { question, round: survey.round };
        let Phase::Gathering { reports, .. } = std::mem::replace(&mut survey.phase, Phase::Writing { deadline }) else {
            unreachable!("the caller has just seen that it is complete")
        };
        let reports: Vec<Report> = (0..)
            .map(ShardId)
            .zip(reports)
            .filter_map(|(core, it)| if core == me { Some(own.clone()) } else { it })
            .collect();
        let (for_pages, for_reports): (Vec<_>, Vec<_>) =
            std::mem::take(&mut survey.askers).into_iter().partition(|asker| asker.form.is_some());
        let forms = distinct(&for_pages);
        survey.askers = for_pages;
        for asker in for_reports {
            self.with_asker(now, host, asker, |session, cx| session.reported(cx, asker.slot, &reports));
        }
        if forms.is_empty() {
            self.parts.surveys.end(id);
            return;
        }
        let (stats, log_lines_dropped) = (host.process_stats(), host.log_lines_dropped());
        let facts = ProcessFacts { stats, log_lines_dropped, ..self.parts.settings.process };
        match host.write_pages(PagesErrand { from: me, id, bundle: Bundle { reports, facts, forms } }) {
            PagesState::Later => {}
            PagesState::Written(pages) => {
                let askers = self.parts.surveys.end(id);
                self.hand_out(now, host, &askers, &pages);
            }
            PagesState::Busy => self.turn_away_askers(now, host, id, "too many pages wait to be written"),
        }
    }

    fn hand_out(&mut self, now: Now, host: &mut impl Host, askers: &[Asker], pages: &[WrittenPage]) {
        for &asker in askers {
            let page = pages.iter().find(|page| Some(page.form) == asker.form);
            let page = page.expect("every form that somebody waits for was written");
            self.with_asker(now, host, asker, |session, cx| session.page_written(cx, asker.slot, page));
        }
    }

    fn turn_away_askers(&mut self, now: Now, host: &mut impl Host, id: SurveyId, why: &str) {
        for asker in self.parts.surveys.end(id) {
            self.with_asker(now, host, asker, |session, cx| session.survey_failed(cx, asker.slot, why));
        }
    }

    fn with_asker<H: Host>(
        &mut self,
        now: Now,
        host: &mut H,
        asker: Asker,
        act: impl FnOnce(&mut crate::session::Session, &mut crate::session::Context<'_, H>),
    ) {
        if self.session(asker.conn).is_some() {
            self.dirty.push(asker.conn);
            self.with_session(now, host, asker.conn, act);
        }
    }
}

impl Parts {
    fn begin_survey(&mut self, now: Now, host: &mut impl Host, question: Question) {
        let (cores, me) = (self.router.shards(), self.me);
        let deadline = now.mono().plus_millis(self.settings.request_timeout_ms);
        let survey = &mut self.surveys.by_question[question as usize];
        survey.round += 1;
        survey.askers = std::mem::take(&mut survey.next);
        survey.phase = Phase::Gathering {
            reports: (0..cores).map(|_| None).collect(),
            unasked: (0..cores).map(ShardId).filter(|core| *core != me).collect(),
            deadline,
        };
        self.ask_unasked(now, host, question);
    }

    /// Asks those cores that have not been asked yet. A full lane is tried again at the next tick.
    fn ask_unasked(&mut self, now: Now, host: &mut impl Host, question: Question) {
        let survey = &mut self.surveys.by_question[question as usize];
        let id = SurveyId { question, round: survey.round };
        let Phase::Gathering { unasked, .. } = &mut survey.phase else { return };
        let mut left = std::mem::take(unasked);
        left.retain(|core| {
            let mut parcel = self.forward.blank();
            parcel.work = Work::Tell { question, report: None };
            match self.send(host, now, parcel, *core, Waiter::Survey(id)) {
                Ok(()) => false,
                Err((parcel, reason)) => {
                    self.metrics.backpressure(reason);
                    self.forward.recycle(parcel);
                    true
                }
            }
        });
        if let Phase::Gathering { unasked, .. } = &mut self.surveys.by_question[question as usize].phase {
            *unasked = left;
        }
    }
}

/// The forms that are wanted, each once.
fn distinct(askers: &[Asker]) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    for form in askers.iter().filter_map(|asker| asker.form) {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms
}
