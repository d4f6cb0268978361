//! Owns the layer of a backend that reports its load: each request measured to the last byte of its answer, each answer with a report,
//! and the page for those who ask.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower_layer::Layer;
use tower_service::Service;

use crate::load::{FIELD, LoadMeter, Running};

/// Where the page stands unless another path is said.
pub const PAGE: &str = "/load";

/// Puts a report on the answers of an inner service, and answers `GET /load` with one.
///
/// A request counts from its call to the last byte of its answer's body; one that is dropped before, as a client leaves, has ended too.
/// 5xx and errors of the inner service are failures.
#[derive(Clone, Debug)]
pub struct ReportLayer {
    meter: LoadMeter,
    page: Option<Arc<str>>,
    asked: Option<HeaderName>,
}

impl ReportLayer {
    /// Reports what this meter measures.
    #[must_use]
    pub fn new(meter: LoadMeter) -> Self {
        Self {
            meter,
            page: Some(PAGE.into()),
            asked: None,
        }
    }

    /// The page stands at this path; none: nowhere.
    #[must_use]
    pub fn page(self, path: Option<&str>) -> Self {
        let page = path.map(Arc::from);
        Self { page, ..self }
    }

    /// Only the answers to requests with this field have a report.
    #[must_use]
    pub fn if_asked(self, field: HeaderName) -> Self {
        let asked = Some(field);
        Self { asked, ..self }
    }
}

impl<S> Layer<S> for ReportLayer {
    type Service = Report<S>;

    fn layer(&self, inner: S) -> Report<S> {
        Report {
            inner,
            layer: self.clone(),
        }
    }
}

/// An inner service whose answers carry a report of load: made by [`ReportLayer`].
#[derive(Clone, Debug)]
pub struct Report<S> {
    inner: S,
    layer: ReportLayer,
}

impl<S, A, B> Service<Request<A>> for Report<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: From<String>,
{
    type Response = Response<Measuring<B>>;
    type Error = S::Error;
    type Future = Answering<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let layer = &self.layer;
        let page = layer.page.as_deref() == Some(request.uri().path());
        if page && *request.method() == Method::GET {
            return Answering(Course::Page(Some(page_of(&layer.meter))));
        }
        let asked = layer.asked.as_ref();
        let reports = asked.is_none_or(|field| request.headers().contains_key(field));
        let running = layer.meter.begin();
        Answering(Course::Inner {
            future: Box::pin(self.inner.call(request)),
            running: Some(running),
            meter: reports.then(|| layer.meter.clone()),
        })
    }
}

fn page_of<B: From<String>>(meter: &LoadMeter) -> Response<B> {
    let mut page = Response::new(B::from(meter.measured().json()));
    let json = HeaderValue::from_static("application/json");
    page.headers_mut().insert(CONTENT_TYPE, json);
    page
}

/// The future of a call.
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Answering<F, B>(Course<F, B>);

#[derive(Debug)]
enum Course<F, B> {
    Page(Option<Response<B>>),
    Inner {
        future: Pin<Box<F>>,
        running: Option<Running>,
        meter: Option<LoadMeter>,
    },
}

/// What it holds is on the heap, or never pinned.
impl<F, B> Unpin for Answering<F, B> {}

impl<F, B, E> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Measuring<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut response, mut running, meter) = match &mut self.0 {
            Course::Page(page) => match page.take() {
                Some(page) => (page, None, None),
                None => return Poll::Pending,
            },
            Course::Inner {
                future,
                running,
                meter,
            } => {
                let answer = ready!(future.as_mut().poll(cx));
                let mut running = running.take();
                match answer {
                    Ok(response) => (response, running, meter.take()),
                    Err(error) => {
                        if let Some(running) = &mut running {
                            running.fails();
                        }
                        return Poll::Ready(Err(error));
                    }
                }
            }
        };
        if let Some(running) = running
            .as_mut()
            .filter(|_| response.status().is_server_error())
        {
            running.fails();
        }
        let text = meter.and_then(|meter| meter.measured().text());
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            let field = HeaderName::from_static(FIELD);
            response.headers_mut().insert(field, value);
        }
        Poll::Ready(Ok(response.map(|body| Measuring { body, running })))
    }
}

/// A body whose request has ended when it has.
#[derive(Debug)]
pub struct Measuring<B> {
    body: B,
    running: Option<Running>,
}

impl<B: Body + Unpin> Body for Measuring<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => drop(self.running.take()),
            Some(Err(_)) => {
                if let Some(running) = self.running.take() {
                    running.failed();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
