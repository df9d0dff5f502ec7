//! The API's description, the page to read it on, and the page that shows how the server does: bytes of the program, given
//! out by whichever core is asked.

use super::outbox::{Answer, Piece};
use super::writing::Failure;
use super::{Context, Session};
use crate::engine::host::Host;
use crate::protocol::answer::{self, FileFacts};
use crate::protocol::conditions::{self, version_from_text};
use crate::protocol::head::Head;
use crate::protocol::route::{Method, Route};
use crate::site;

impl Session {
    /// GET and HEAD of a file below `route`. An error has answered nothing.
    pub(super) fn give_file<H: Host>(
        &mut self,
        cx: &mut Context<'_, H>,
        head: &Head<'_>,
        route: Route,
    ) -> Result<usize, Failure> {
        let resource = site::find(head.path).ok_or_else(Failure::no_such_path)?;
        let known = conditions::conditions(head)?.if_none_match;
        let unchanged = known.is_some_and(|tags| tags.contains(version_from_text(resource.tag.as_bytes())));
        let mut ticket = self.ticket(cx, head, route);
        ticket.keep_alive &= self.skip_body(cx, head);
        let date = cx.parts.date(cx.now);
        let facts = FileFacts {
            content_type: resource.content_type,
            fields: resource.fields,
            tag: resource.tag,
            len: resource.body.len() as u64,
        };
        let mut bytes = Vec::new();
        let status = if unchanged {
            answer::file_not_modified(&mut bytes, &ticket.head(&date), &facts);
            304
        } else {
            answer::file(&mut bytes, &ticket.head(&date), &facts);
            200
        };
        let body = (!unchanged && head.method == Method::Get).then_some(Piece::Static(resource.body));
        let pieces = std::iter::once(Piece::Bytes(bytes)).chain(body).collect();
        self.outbox.push(cx, Answer { pieces, answered: Some(ticket.answered(self.id, status, cx.now.mono())) });
        self.request_ends(cx, ticket.keep_alive);
        Ok(0)
    }
}
