//! Questions to all cores, each asked once for everybody who wants to know.
//!
//! A core has at most one survey under way for each [`Question`]. Who asks meanwhile waits for the next one, which begins
//! after he has asked: nobody sees numbers older than his own request, and a flood of scrapes costs no more than one
//! after the other. When all cores have reported, the pages are written, by somebody else where there is one: see
//! [`Host::write_pages`].

use super::Engine;
use super::host::{Host, PagesErrand, PagesState};
use super::parts::Parts;
use crate::forward::Waiter;
use crate::insight::page::{Bundle, Form, WrittenPage};
use crate::insight::{Question, Report};
use crate::metrics::{BackpressureReason, ProcessFacts};
use crate::parcel::{Parcel, Work};
use crate::routing::ShardId;
use crate::session::ConnId;
use crate::time::{Mono, Now};
use std::collections::VecDeque;
use std::sync::Arc;

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
    /// It waits no longer than this.
    pub deadline: Mono,
}

/// The surveys of one core.
#[derive(Debug, Default)]
pub struct Surveys {
    by_question: [Survey; Question::ALL.len()],
    /// Pages that are written and not handed out yet.
    handing_out: VecDeque<(Asker, Arc<[WrittenPage]>)>,
    /// Something has happened that [`Engine::go_on_with_surveys`] has not seen yet.
    stirred: bool,
}

#[derive(Debug, Default)]
struct Survey {
    round: u64,
    phase: Phase,
    /// Nobody waits for it longer than this.
    deadline: Mono,
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
    },
    Writing,
}

/// Pages handed out in one slice of work: to copy and send one takes some hundred microseconds.
const PAGES_PER_SLICE: usize = 4;

impl Surveys {
    /// Has `asker` take part in the next survey.
    pub fn join(&mut self, question: Question, asker: Asker) {
        self.by_question[question as usize].next.push(asker);
        self.stirred = true;
    }

    /// Whether pages wait to be handed out by [`Engine::tick`].
    #[must_use]
    pub fn is_handing_out(&self) -> bool {
        !self.handing_out.is_empty()
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
    /// Takes out those who have waited for too long.
    fn take_late(&mut self, now: Mono) -> Vec<Asker> {
        let late = |asker: &mut Asker| asker.deadline < now;
        self.askers.extract_if(.., late).chain(self.next.extract_if(.., late)).collect()
    }

    /// Why a survey that began has no page yet.
    fn what_is_missing(&self, me: ShardId) -> String {
        let silent: Vec<u16> = match &self.phase {
            Phase::Gathering { reports, .. } => {
                (0..).zip(reports).filter(|(core, it)| it.is_none() && *core != me.0).map(|(core, _)| core).collect()
            }
            Phase::Idle | Phase::Writing => Vec::new(),
        };
        if silent.is_empty() {
            "the page was not written within REQUEST_TIMEOUT_MS".to_owned()
        } else {
            format!("no answer from cores {silent:?} within REQUEST_TIMEOUT_MS")
        }
    }

    fn is_complete(&self, me: ShardId) -> bool {
        let Phase::Gathering { reports, .. } = &self.phase else { return false };
        (0..).zip(reports).all(|(core, report)| report.is_some() || ShardId(core) == me)
    }
}

impl Engine {
    /// Takes the pages of a survey of this core's that [`Host::write_pages`] has promised.
    pub fn pages_written(&mut self, now: Now, host: &mut impl Host, id: SurveyId, pages: Vec<WrittenPage>) {
        self.take_pages(id, pages);
        self.hand_out(now, host);
        self.go_on_with_surveys(now, host);
    }

    fn take_pages(&mut self, id: SurveyId, pages: Vec<WrittenPage>) {
        let (askers, pages) = (self.parts.surveys.end(id), Arc::from(pages));
        self.parts.surveys.handing_out.extend(askers.into_iter().map(|asker| (asker, Arc::clone(&pages))));
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
        self.hand_out(now, host);
        for question in Question::ALL {
            self.parts.ask_unasked(now, host, question);
            self.turn_away_the_late(now, host, question);
        }
        self.go_on_with_surveys(now, host);
    }

    fn turn_away_the_late(&mut self, now: Now, host: &mut impl Host, question: Question) {
        let me = self.parts.me;
        let survey = &mut self.parts.surveys.by_question[question as usize];
        let late = survey.take_late(now.mono());
        let is_over = survey.deadline < now.mono() && !matches!(survey.phase, Phase::Idle);
        if late.is_empty() && !is_over {
            return;
        }
        let why = survey.what_is_missing(me);
        let id = SurveyId { question, round: survey.round };
        if matches!(&survey.phase, Phase::Gathering { unasked, .. } if is_over && !unasked.is_empty()) {
            self.parts.metrics.backpressure(BackpressureReason::ControlLaneFull);
        }
        let left = if is_over { self.parts.surveys.end(id) } else { Vec::new() };
        self.turn_away_askers(now, host, late.into_iter().chain(left), &why);
    }

    /// All cores have reported: answers who wanted no more than that, and has pages written for the others.
    fn evaluate(&mut self, now: Now, host: &mut impl Host, question: Question) {
        let own = self.parts.report(now, host, question);
        let me = self.parts.me;
        let survey = &mut self.parts.surveys.by_question[question as usize];
        let id = SurveyId { question, round: survey.round };
        let Phase::Gathering { mut reports, .. } = std::mem::replace(&mut survey.phase, Phase::Writing) else {
            unreachable!("the caller has just seen that it is complete")
        };
        reports[me.index()] = Some(own);
        let reports: Vec<Report> = reports.into_iter().flatten().collect();
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
                self.take_pages(id, pages);
                self.hand_out(now, host);
            }
            PagesState::Busy => {
                self.parts.metrics.backpressure(BackpressureReason::ControlLaneFull);
                let askers = self.parts.surveys.end(id);
                self.turn_away_askers(now, host, askers, "too many pages wait to be written");
            }
        }
    }

    /// Hands out some of the pages that are written; [`Engine::tick`] hands out the rest.
    fn hand_out(&mut self, now: Now, host: &mut impl Host) {
        for _ in 0..PAGES_PER_SLICE {
            let Some((asker, pages)) = self.parts.surveys.handing_out.pop_front() else { return };
            let page = pages.iter().find(|page| Some(page.form) == asker.form);
            let page = page.expect("every form that somebody waits for was written");
            self.with_asker(now, host, asker, |session, cx| session.page_written(cx, asker.slot, page));
        }
    }

    fn turn_away_askers(&mut self, now: Now, host: &mut impl Host, askers: impl IntoIterator<Item = Asker>, why: &str) {
        for asker in askers {
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
        survey.deadline = deadline;
        survey.askers = std::mem::take(&mut survey.next);
        survey.phase = Phase::Gathering {
            reports: (0..cores).map(|_| None).collect(),
            unasked: (0..cores).map(ShardId).filter(|core| *core != me).collect(),
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
                Err((parcel, _)) => {
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
